// The wall. Everything that a stranger wrote goes in by textContent, and addresses only if they are https.
const UP_FOR = 25 * 3600;
const FONTS = { SERIF: "serif", NORICAN_REGULAR: "script", BRYNDAN_WRITE: "script", OSWALD_HEAVY: "heavy" };

const $ = (id) => document.getElementById(id);
const cards = new Map(); // By id: the status, and its element.
const filter = { kind: "", sender: "" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function httpsOnly(url) {
  try {
    return new URL(url).protocol === "https:" ? url : null;
  } catch {
    return null;
  }
}

const picture = (status) => (status.thumbnail ? `data:image/jpeg;base64,${status.thumbnail}` : null);

// Cards

function card(status) {
  const item = make("li", status.kind);
  const by = make("div", "by");
  const time = make("time");
  time.dateTime = new Date(status.timestamp * 1000).toISOString();
  by.append(make("bdi", "", status.sender), time);
  item.append(by, ...content(status));
  if (status.caption && status.kind !== "text") {
    const caption = make("p", "words caption", status.caption);
    caption.dir = "auto";
    item.append(caption);
  }
  return item;
}

function content(status) {
  if (status.kind === "text") return [coloured(status)];
  if (status.kind === "image") return [image(status)];
  if (status.kind === "video" || status.kind === "audio") return [player(status)];
  return [make("p", "note", "A kind of status that this page cannot show.")];
}

function coloured(status) {
  const words = make("p", `words ${FONTS[status.style?.font] ?? ""}`, status.text ?? "");
  words.dir = "auto";
  const colour = opaque(status.style?.backgroundColor ?? "");
  if (colour) {
    words.style.backgroundColor = `rgb(${colour.join(" ")})`;
    words.style.color = contrastWithWhite(colour) >= 3 ? "#fff" : "#000";
  }
  return words;
}

// The API spells colours as #RRGGBB, #RRGGBBAA, without the #, or as rgb(): a canvas reads what a browser can.
function opaque(text) {
  const colour = /^[0-9a-f]{6}([0-9a-f]{2})?$/i.test(text) ? `#${text}` : text;
  if (!colour || !CSS.supports("color", colour)) return null;
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = colour.startsWith("#") ? colour.slice(0, 7) : colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function contrastWithWhite(colour) {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05);
}

// The thumbnail comes with the status, so it is there at once; the file takes its place when it has come.
function image(status) {
  const shown = make("img");
  shown.alt = status.caption ?? "";
  shown.src = picture(status) ?? "data:,";
  const url = httpsOnly(status.url);
  if (url) {
    const file = new Image();
    file.referrerPolicy = "no-referrer";
    file.onload = () => (shown.src = url);
    file.src = url;
  }
  const figure = make("figure");
  figure.append(shown);
  return figure;
}

function player(status) {
  const url = httpsOnly(status.url);
  if (!url && status.kind === "video") return image(status);
  if (!url) return make("p", "note", "The file cannot be played here.");
  const media = make(status.kind);
  media.controls = true;
  media.preload = "none";
  media.src = url;
  if (status.kind === "video" && status.thumbnail) media.poster = picture(status);
  media.setAttribute("aria-label", status.kind === "video" ? "Video" : "Voice note");
  return media;
}

// What is drawn again

function draw() {
  const focused = document.activeElement?.dataset.key;
  drawRings();
  drawCards();
  // A redraw replaces the ring that has the focus: give it to its successor.
  if (focused && document.activeElement?.dataset.key !== focused) {
    document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }
}

const newestFirst = () => [...cards.values()].reverse().sort((a, b) => b.status.timestamp - a.status.timestamp);

function drawRings() {
  const senders = new Map();
  for (const { status } of newestFirst()) {
    const sender = senders.get(status.senderId) ?? { name: status.sender, count: 0 };
    sender.count += 1;
    sender.face ??= picture(status);
    senders.set(status.senderId, sender);
  }
  if (!senders.has(filter.sender)) filter.sender = "";
  $("rings").hidden = senders.size === 0;
  $("rings").replaceChildren(...[...senders].map(([id, sender]) => ring(id, sender)));
}

function ring(id, { name, count, face }) {
  const button = make("button");
  button.type = "button";
  button.dataset.key = `ring ${id}`;
  button.setAttribute("aria-pressed", String(filter.sender === id));
  const circle = make("span", "face", face ? "" : [...name][0]);
  circle.ariaHidden = "true";
  if (face) circle.style.backgroundImage = `url("${face}")`;
  button.append(circle, make("bdi", "", name));
  button.title = `${name}: ${count}`;
  button.onclick = () => {
    filter.sender = filter.sender === id ? "" : id;
    draw();
  };
  return button;
}

// Elements stay where they are, so that a video goes on playing; what is new goes in between.
function drawCards() {
  let shown = 0;
  let before = $("cards").firstElementChild;
  for (const { status, element } of newestFirst()) {
    const fits = (!filter.kind || filter.kind === status.kind) && (!filter.sender || filter.sender === status.senderId);
    element.hidden = !fits;
    shown += fits;
    if (element === before) before = before.nextElementSibling;
    else $("cards").insertBefore(element, before);
    element.querySelector("time").textContent = ago(status.timestamp);
  }
  $("empty").hidden = cards.size > 0 || $("state").dataset.state !== "live";
  $("filtered").hidden = cards.size === 0 || shown > 0;
}

function ago(timestamp) {
  const minutes = Math.max(0, Math.round((Date.now() / 1000 - timestamp) / 60));
  if (minutes < 1) return "now";
  return minutes < 60 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
}

function forget(id) {
  cards.get(id)?.element.remove();
  cards.delete(id);
}

function dropExpired() {
  for (const [id, { status }] of cards) {
    if (Date.now() / 1000 - status.timestamp > UP_FOR) forget(id);
  }
  draw();
}

// What the server tells

function tell(state, trouble = "") {
  $("state").dataset.state = $("state").textContent = state;
  $("trouble").textContent = trouble;
  $("trouble").hidden = !trouble;
  draw();
}

const TROUBLE = {
  failing: (error) => `The last request failed; the next one follows soon: ${error}`,
  stopped: (error) => `Polling has stopped. Mend this, and start the wall again: ${error}`,
};

const events = new EventSource("/events");
events.addEventListener("reset", () => {
  [...cards.keys()].forEach(forget);
  draw();
});
events.addEventListener("status", ({ data }) => {
  const status = JSON.parse(data);
  forget(status.id);
  if (!status.deletes) cards.set(status.id, { status, element: card(status) });
  draw();
});
events.addEventListener("health", ({ data }) => {
  const { state, error } = JSON.parse(data);
  tell(state, TROUBLE[state]?.(error));
});
events.onerror = () => tell("connecting", "The wall's server does not respond. The page connects again by itself.");

// What the reader does

$("kinds").onclick = ({ target }) => {
  if (target.dataset.kind === undefined) return;
  filter.kind = target.dataset.kind;
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", String(button === target));
  draw();
};

for (const row of [$("kinds"), $("rings")]) {
  row.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const buttons = [...row.children];
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
    event.preventDefault();
  };
}

setInterval(dropExpired, 30_000);
