"""What planted junk is made of: other languages, placeholders, insults, menus, wares."""

from __future__ import annotations

FOREIGN = {
    "de": """
Der Fluss lief an einer stillen Stadt vorbei. Am Abend zündete man die Lampen an, damit die
Reisenden ihren Weg fänden. In der Herberge gab es Brot, Suppe und ein Bett für die Nacht. Wer
früh aufbrach, kam noch vor dem Regen über den Berg. Die Händler erzählten von fernen Märkten
und von Preisen, die niemand glauben wollte. Im Winter blieb die Straße wochenlang leer, und
die Kinder fuhren auf dem Eis.
""",
    "fr": """
La rivière passait devant une ville tranquille. Le soir on allumait les lampes pour que les
voyageurs trouvent leur chemin. À l'auberge on servait du pain, de la soupe et un lit pour la
nuit. Ceux qui partaient tôt passaient la montagne avant la pluie. Les marchands parlaient de
foires lointaines et de prix que personne ne voulait croire. En hiver la route restait vide
pendant des semaines et les enfants glissaient sur la glace.
""",
    "es": """
El río pasaba junto a una ciudad tranquila. Por la tarde se encendían las lámparas para que
los viajeros encontraran su camino. En la posada había pan, sopa y una cama para la noche.
Quien salía temprano cruzaba la montaña antes de la lluvia. Los comerciantes hablaban de
ferias lejanas y de precios que nadie quería creer. En invierno el camino quedaba vacío
durante semanas y los niños jugaban sobre el hielo.
""",
    "it": """
Il fiume passava accanto a una città tranquilla. La sera si accendevano le lampade perché i
viaggiatori trovassero la strada. Nella locanda c'erano pane, zuppa e un letto per la notte.
Chi partiva presto passava il monte prima della pioggia. I mercanti parlavano di fiere lontane
e di prezzi a cui nessuno voleva credere. D'inverno la strada restava vuota per settimane e i
bambini giocavano sul ghiaccio.
""",
    "nl": """
De rivier liep langs een stille stad. In de avond werden de lampen aangestoken zodat de
reizigers hun weg konden vinden. In de herberg was er brood, soep en een bed voor de nacht.
Wie vroeg vertrok, kwam nog voor de regen over de berg. De kooplieden vertelden over verre
markten en over prijzen die niemand wilde geloven. In de winter bleef de weg wekenlang leeg en
de kinderen reden op het ijs.
""",
    "ru": """
Река текла мимо тихого города. Вечером зажигали лампы, чтобы путники нашли дорогу. В гостинице
был хлеб, суп и кровать на ночь. Кто выходил рано, тот успевал перейти гору до дождя. Купцы
рассказывали о далёких ярмарках и о ценах, которым никто не хотел верить. Зимой дорога
неделями оставалась пустой, и дети катались по льду.
""",
}
LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco."
)
INSULTS = ("idiot", "moron", "bastard", "asshole", "piece of shit", "dumb bitch", "fucking pig")
SIGNS = """
Home About Products Services Blog Contact Login Register Cart Checkout Help Search Careers
Press Legal Imprint Sitemap Archive Tags Authors Newsletter Feedback Support Downloads Forum
"""
WARES = "cheap watches replica handbags discount pills casino bonus loans crypto signals"
MENU, GOODS = SIGNS.split(), WARES.split()
