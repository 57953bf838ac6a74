/**
 * What runs in the report. Text of strangers goes into the page by textContent only, and the page's policy forbids everything else
 * (Trusted Types). Of the pods' rows only those in view exist, so that ten thousand open at once.
 */
export const SCRIPT = `'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const { now, names, states, pods, leafEnds } = data;
const $ = (id) => document.getElementById(id);
const NAMESPACE = 0, RESOURCE = 1, POD = 2, STATE = 3, CREATED = 4, ISSUED = 5, RENEW = 6, EXPIRES = 7, SERVED = 8, PORT = 9, MESSAGE = 10;
const kindOf = (pod) => states[pod[STATE]].kind;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Times.
const DAY = 86400;
function iso(seconds) {
  return seconds ? new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ') + ' UTC' : '-';
}
function distance(seconds) {
  if (!seconds) return '-';
  const far = Math.abs(seconds - now);
  const text = far >= 2 * DAY ? Math.floor(far / DAY) + ' d' : far >= 7200 ? Math.floor(far / 3600) + ' h' : far >= 120 ? Math.floor(far / 60) + ' min' : Math.floor(far) + ' s';
  return seconds >= now ? 'in ' + text : text + ' ago';
}

// The range that is drawn: whole lives of credentials, and of older pods the end only.
let from = now - 3600, to = now + 3600;
for (const pod of pods) {
  if (pod[ISSUED] && pod[ISSUED] < from) from = pod[ISSUED];
  if (pod[EXPIRES] > to) to = pod[EXPIRES];
}
const nextLeafEnd = leafEnds.filter((end) => end > now - 30 * DAY)[0];
const showsLeaf = nextLeafEnd !== undefined && nextLeafEnd < to + (to - from);
if (showsLeaf && nextLeafEnd > to) to = nextLeafEnd;
const margin = (to - from) * 0.04;
from -= margin; to += margin;
const part = (seconds) => Math.min(1, Math.max(0, (seconds - from) / (to - from)));

// The picture.
const canvas = $('picture');
const byIssue = pods.map((_, index) => index).sort((a, b) => (pods[a][ISSUED] || pods[a][CREATED]) - (pods[b][ISSUED] || pods[b][CREATED]));
// Above the bars, the leaf's end is written; below them, the time.
const HEAD = 22, AXIS = 26, MOST = 400;
const heightOf = () => Math.max(90, Math.min(MOST, pods.length * 22 + HEAD + AXIS));
function draw() {
  canvas.style.height = heightOf() + 'px';
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue('--' + name).trim();
  const c = { life: colour('life'), current: colour('current'), left: colour('left'), bad: colour('bad'), mark: colour('mark'), soft: colour('soft'), line: colour('line'), leaf: colour('leaf') };
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, height);
  const x = (seconds) => part(seconds) * width;
  const room = height - HEAD - AXIS;
  context.translate(0, HEAD);
  const step = Math.min(22, room / Math.max(1, pods.length));
  const thick = step > 4 ? step - 2 : step > 2 ? step - 1 : Math.max(step, 0.6);
  axis(context, width, room, x, c);
  const bar = (y, start, end, fill, h) => { context.fillStyle = fill; context.fillRect(x(start), y, Math.max(0.5, x(end) - x(start)), h); };
  // Where a pod is thinner than a pixel, one stands for its neighbours: they were issued within minutes of each other.
  const stride = Math.max(1, Math.floor(1 / (step * ratio)));
  $('scale').textContent = stride > 1 ? 'Each line stands for ' + stride + ' pods, sorted by the time of issue; findings are marked at the left edge.' : '';
  const each = (visit) => { for (let position = 0; position < byIssue.length; position += stride) visit(pods[byIssue[position]], position * step); };
  const tall = stride > 1 ? stride * step : thick;
  each((pod, y) => {
    if (pod[CREATED]) bar(y, pod[CREATED], now, c.life, tall);
    if (!pod[ISSUED]) return;
    bar(y, pod[ISSUED], Math.min(now, pod[EXPIRES]), c.current, tall);
    if (pod[EXPIRES] > now) bar(y, now, pod[EXPIRES], c.left, tall);
  });
  context.fillStyle = c.mark;
  context.globalAlpha = step < 2 ? 0.45 : 0.9;
  each((pod, y) => { if (pod[RENEW]) context.fillRect(x(pod[RENEW]) - 0.75, y, 1.5, tall); });
  context.globalAlpha = 1;
  byIssue.forEach((index, position) => {
    const pod = pods[index];
    if (kindOf(pod) !== 'bad') return;
    if (stride === 1) bar(position * step, pod[ISSUED] || pod[CREATED], now, c.bad, thick);
    else bar(position * step, from, from + (to - from) * 0.008, c.bad, 1);
  });
  line(context, x(now), room, c.soft, []);
  if (showsLeaf) line(context, x(nextLeafEnd), room, c.leaf, [5, 4]);
  if (nextLeafEnd === undefined) return;
  const narrow = showsLeaf && x(nextLeafEnd) < 170;
  context.fillStyle = c.leaf; context.textAlign = narrow ? 'left' : 'right'; context.font = '600 12px system-ui, sans-serif';
  const label = 'leaf expires ' + iso(nextLeafEnd).slice(0, 10) + (showsLeaf ? '' : ' \u2192');
  context.fillText(label, showsLeaf ? x(nextLeafEnd) + (narrow ? 6 : -6) : width - 4, 14 - HEAD);
}
function line(context, at, room, colour, dash) {
  context.strokeStyle = colour; context.lineWidth = 1.5; context.setLineDash(dash);
  context.beginPath(); context.moveTo(at, -6); context.lineTo(at, room + 4); context.stroke(); context.setLineDash([]);
}
function axis(context, width, room, x, c) {
  const steps = [300, 900, 3600, 7200, 14400, 21600, 43200, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY];
  const wanted = (to - from) / Math.max(2, Math.floor(width / 110));
  const step = steps.find((one) => one >= wanted) || 180 * DAY;
  context.font = '12px system-ui, sans-serif'; context.textAlign = 'center';
  for (let at = Math.ceil(from / step) * step; at < to; at += step) {
    context.fillStyle = c.line; context.fillRect(x(at), 0, 1, room);
    const text = new Date(at * 1000).toISOString();
    const label = step >= DAY ? text.slice(5, 10) : text.slice(11, 16) === '00:00' ? text.slice(5, 10) : text.slice(11, 16);
    context.fillStyle = c.soft;
    if (x(at) > 24 && x(at) < width - 24) context.fillText(label, x(at), room + 18);
  }
}
canvas.addEventListener('pointermove', (event) => {
  const box = canvas.getBoundingClientRect();
  const step = Math.min(22, (heightOf() - HEAD - AXIS) / Math.max(1, pods.length));
  const pod = pods[byIssue[Math.floor((event.clientY - box.top - HEAD) / step)]];
  $('under').textContent = pod ? names[pod[NAMESPACE]] + '/' + pod[POD] + ': ' + states[pod[STATE]].name + ', issued ' + iso(pod[ISSUED]) + ', renews ' + iso(pod[RENEW]) + ', expires ' + iso(pod[EXPIRES]) : '';
});
canvas.addEventListener('pointerleave', () => { $('under').textContent = ''; });

// The table.
const scroll = $('rows'), list = $('list');
let shown = pods, column = 'state', down = false, only = '';
const searchable = pods.map((pod) => (names[pod[NAMESPACE]] + '/' + pod[POD] + ' ' + names[pod[RESOURCE]] + ' ' + states[pod[STATE]].name + ' ' + (pod[MESSAGE] || '')).toLowerCase());
const keys = {
  state: (pod) => pod[STATE],
  pod: (pod) => names[pod[NAMESPACE]] + '/' + pod[POD],
  resource: (pod) => names[pod[RESOURCE]],
  issued: (pod) => pod[ISSUED],
  expires: (pod) => pod[SERVED] || pod[EXPIRES] || Infinity,
};
function choose() {
  const text = $('filter').value.trim().toLowerCase();
  const key = keys[column], sign = down ? -1 : 1;
  shown = pods.filter((pod, index) => (only === '' || states[pod[STATE]].name === only) && (text === '' || searchable[index].includes(text)));
  const keyed = shown.map((pod, index) => [key(pod), index, pod]);
  keyed.sort((a, b) => (a[0] < b[0] ? -sign : a[0] > b[0] ? sign : a[1] - b[1]));
  shown = keyed.map((one) => one[2]);
  $('count').textContent = shown.length + ' of ' + pods.length;
  for (const button of document.querySelectorAll('[data-column]')) {
    const is = button.dataset.column === column;
    button.setAttribute('aria-pressed', String(is));
    button.textContent = button.dataset.label + (is ? (down ? ' ↓' : ' ↑') : '');
  }
  for (const button of document.querySelectorAll('[data-state]')) button.setAttribute('aria-pressed', String(button.dataset.state === only));
  scroll.scrollTop = 0;
  rows(true);
}
let first = -1, last = -1;
function rows(again) {
  const height = window.matchMedia('(max-width: 720px)').matches ? 64 : 34;
  const start = Math.max(0, Math.floor(scroll.scrollTop / height) - 8);
  const end = Math.min(shown.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / height) + 8);
  if (!again && start === first && end === last) return;
  first = start; last = end;
  list.style.height = shown.length * height + 'px';
  const inView = [];
  for (let index = start; index < end; index += 1) inView.push(row(shown[index], index * height));
  list.replaceChildren(...inView);
}
function row(pod, top) {
  const element = make('div', 'row');
  element.style.top = top + 'px';
  const { kind, name } = states[pod[STATE]];
  const podCell = make('span', 'mono', names[pod[NAMESPACE]] + '/' + pod[POD]);
  podCell.title = podCell.textContent;
  element.append(make('span', 'state ' + kind, name), podCell, make('span', 'soft', names[pod[RESOURCE]]), lifeBar(pod, kind), make('span', 'number soft small', pod[SERVED] || pod[EXPIRES] ? expiry(pod[SERVED] || pod[EXPIRES]) : ''));
  element.addEventListener('click', () => detail(pod));
  return element;
}
function expiry(at) {
  return (at >= now ? 'expires ' : 'expired ') + distance(at);
}
function lifeBar(pod, kind) {
  const bar = make('span', 'bar');
  const piece = (className, start, end) => {
    const element = make('i', className);
    element.style.left = part(start) * 100 + '%';
    if (end !== undefined) element.style.width = Math.max(0.3, (part(end) - part(start)) * 100) + '%';
    bar.append(element);
  };
  if (pod[CREATED]) piece('k-life', pod[CREATED], now);
  if (pod[ISSUED]) {
    piece(kind === 'bad' ? 'k-bad' : 'k-current', pod[ISSUED], Math.min(now, pod[EXPIRES]));
    if (pod[EXPIRES] > now) piece('k-left', now, pod[EXPIRES]);
    piece('tick', pod[RENEW]);
  }
  piece('now', now);
  return bar;
}
function detail(pod) {
  const box = $('detail');
  const facts = make('dl');
  const add = (term, text) => { if (text) facts.append(make('dt', '', term), make('dd', '', text)); };
  add('state', states[pod[STATE]].name);
  add('found', pod[MESSAGE] || states[pod[STATE]].meaning);
  add('resource', names[pod[NAMESPACE]] + '/' + names[pod[RESOURCE]]);
  add('port', pod[PORT] ? String(pod[PORT]) : '');
  add('pod created', iso(pod[CREATED]));
  add('Secret issued', iso(pod[ISSUED]));
  add('renews', iso(pod[RENEW]));
  add('Secret expires', iso(pod[EXPIRES]));
  add('served expires', pod[SERVED] ? iso(pod[SERVED]) : '');
  box.replaceChildren(make('strong', 'mono', names[pod[NAMESPACE]] + '/' + pod[POD]), facts);
}
for (const button of document.querySelectorAll('[data-column]')) {
  button.addEventListener('click', () => { down = column === button.dataset.column ? !down : false; column = button.dataset.column; choose(); });
}
for (const button of document.querySelectorAll('[data-state]')) {
  button.addEventListener('click', () => { only = only === button.dataset.state ? '' : button.dataset.state; choose(); });
}
$('filter').addEventListener('input', choose);
scroll.addEventListener('scroll', () => rows(false), { passive: true });
const redraw = () => { draw(); rows(true); };
window.addEventListener('resize', redraw);
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
draw();
choose();
document.documentElement.dataset.ready = 'true';
`;
