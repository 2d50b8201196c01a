// The chat page: turns go to /v1/chat/completions, the answer streams in, and each token tells how
// probable it was. All text is set as text, never as HTML: a model may say anything.

const $ = (id) => document.getElementById(id);
const talk = $("talk"), why = $("why"), settings = $("settings");
const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens", "seed"];
let turns = [], running = null;

async function models() {
  const response = await fetch("/v1/models");
  const { data } = await response.json();
  for (const model of data) $("model").append(new Option(model.id, model.id));
}

function add(role, text = "") {
  const turn = document.createElement("div");
  turn.className = `turn ${role}`;
  turn.textContent = text;
  talk.append(turn);
  return turn;
}

function request(logprobs) {
  const given = Object.fromEntries(new FormData(settings));
  const body = { model: $("model").value, stream: true, stream_options: { include_usage: true } };
  for (const name of NUMBERS) if (given[name]) body[name] = Number(given[name]);
  if (given.stop) body.stop = given.stop;
  if (logprobs) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  const system = given.system ? [{ role: "system", content: given.system }] : [];
  return { ...body, messages: [...system, ...turns] };
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

// Tokens of one answer as spans. A character may take several tokens: they share a span.
class Tokens {
  constructor(turn) {
    this.turn = turn;
    this.decoder = new TextDecoder();
    this.held = [];
    this.text = "";
    this.shown = 0;
  }
  add(content, found) {
    this.text += content;
    if (!found?.length) { this.show(content, null); return; }
    for (const token of found) {
      this.held.push(token);
      const text = this.decoder.decode(new Uint8Array(token.bytes ?? []), { stream: true });
      if (text) { this.show(text, this.held); this.held = []; }
    }
  }
  show(text, tokens) {
    const room = this.text.length - this.shown;  // a stop text may cut the last token
    const seen = text.slice(0, Math.max(room, 0));
    this.shown += seen.length;
    if (!seen) return;
    const span = document.createElement("span");
    span.textContent = seen;
    if (tokens) {
      const p = Math.exp(tokens.reduce((sum, token) => sum + token.logprob, 0));
      span.className = "token";
      span.tabIndex = 0;
      span.style.setProperty("--doubt", 1 - p);
      span.dataset.why = tokens.map(explained).join("\n");
    }
    this.turn.append(span);
  }
}

function explained(token) {
  const line = ({ token, logprob }) => `${(100 * Math.exp(logprob)).toFixed(1).padStart(5)} %  ${JSON.stringify(token)}`;
  const others = (token.top_logprobs ?? []).filter((other) => other.token !== token.token);
  return [`${line(token)}  chosen`, ...others.map(line)].join("\n");
}

async function ask(logprobs, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST", signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request(logprobs)),
  });
  if (response.ok) return response;
  const { error } = await response.json();
  if (logprobs && error.param === "logprobs") return ask(false, signal);
  throw new Error(error.message);
}

async function answer() {
  running = new AbortController();
  working(true);
  const turn = add("assistant"), tokens = new Tokens(turn);
  let note = "";
  try {
    const response = await ask(settings.elements.logprobs.checked, running.signal);
    const begun = performance.now();
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const [choice] = chunk.choices;
      if (choice) tokens.add(choice.delta.content ?? "", choice.logprobs?.content);
      if (choice?.finish_reason === "length") note = "cut at the longest answer";
      if (chunk.usage) {
        const rate = chunk.usage.completion_tokens / ((performance.now() - begun) / 1000);
        note = [note, `${chunk.usage.completion_tokens} tokens, ${rate.toFixed(0)} a second`].filter(Boolean).join("; ");
      }
      talk.scrollTop = talk.scrollHeight;
    }
  } catch (error) {
    if (error.name === "AbortError") note = "stopped";
    else { turn.classList.add("error"); note = error.message; }
  }
  if (tokens.text) turns.push({ role: "assistant", content: tokens.text });
  else turns.pop();  // an answer of nothing: the turn can be asked again
  if (note) turn.append(Object.assign(document.createElement("span"), { className: "note", textContent: note }));
  working(false);
}

function working(on) {
  $("send").disabled = on;
  $("stop").disabled = !on;
}

function explain(event) {
  const text = event.target.dataset?.why;
  why.hidden = !text;
  if (!text) return;
  why.textContent = text;
  const { left, bottom } = event.target.getBoundingClientRect();
  why.style.left = `${Math.min(left, innerWidth - why.offsetWidth - 8)}px`;
  why.style.top = `${Math.min(bottom + 4, innerHeight - why.offsetHeight - 8)}px`;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = $("turn").value.trim();
  if (!said || !$("stop").disabled) return;
  if (!settings.reportValidity()) return;
  $("turn").value = "";
  turns.push({ role: "user", content: said });
  add("user", said);
  answer();
});
$("turn").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); $("ask").requestSubmit(); }
});
$("stop").addEventListener("click", () => running?.abort());
$("reset").addEventListener("click", () => { running?.abort(); turns = []; talk.replaceChildren(); });
talk.addEventListener("mouseover", explain);
talk.addEventListener("mouseout", () => { why.hidden = true; });
talk.addEventListener("focusin", explain);
settings.addEventListener("submit", (event) => event.preventDefault());
models();
