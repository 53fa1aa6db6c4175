// The status page: asks for status.json once a second, and shows what has changed. Everything that came from outside is
// written as text, never as HTML. Several processes may stand behind one address and each answers for itself; their
// answers are joined here: the newest that knows a cluster, and the events of all.
"use strict";

(() => {
  const CALM_MS = 1000;     // between two questions while all is well
  const BUSY_MS = 500;      // while something is not
  const TIMEOUT_MS = 4000;  // for an answer
  const FORGET_MS = 15000;  // a process that has not answered for as long is gone
  const SPAN_S = 300;       // what the tape of a cluster shows
  const KEPT = 300;         // events
  const SKEW_S = 2;         // from which on it is no delay of the network, but another clock
  const SAME_S = 3;         // within which several processes tell of one and the same failover
  const BURST_S = 10;       // within which retries of a kind are one line

  const $ = (id) => document.getElementById(id);
  const address = document.body.dataset.status;
  const processes = new Map();  // process -> { seen, report }
  const events = new Map();     // key -> event
  const cards = new Map();      // cluster -> what is shown of it
  let isPaused = false;
  let isAsking = false;
  let timer = 0;
  let answered = 0;
  let skew = 0;  // seconds by which the servers' clock is ahead of this one
  let trouble = "";
  let shown = "";

  // -- words ------------------------------------------------------------------------------------

  const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;

  const span = (s) => {
    if (s < 0.0005) return "at once";
    if (s < 1) return `${Math.round(s * 1000)} ms`;
    if (s < 10) return `${s.toFixed(1)} s`;
    if (s < 120) return `${Math.round(s)} s`;
    return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
  };

  const ago = (at, now) => (now - at < 1 ? "just now" : `${span(now - at)} ago`);

  const HEADLINES = { ok: "Everything answers.", unknown: "Looking at the clusters …" };

  // Each: the filter, the tone, and the sentence.
  const SENTENCES = {
    FailoverCompleted: (e) => ["failover", "good", `${e.to_node} has taken over${e.from_node ? ` from ${e.from_node}` : ""} after ${span(e.elapsed_s)}`],
    PrimaryFound: (e) => ["failover", "good", `${e.node} takes writes`],
    PrimaryLost: (e) => ["failover", "warn", e.node ? `${e.node} takes writes no more; nobody does` : "no node takes writes"],
    NodeFound: (e) => ["failover", "good", `${e.node} answers, as ${e.role}`],
    NodeLost: (e) => ["failover", "warn", `${e.node} answers no more${e.reason ? ` (${e.reason})` : ""}`],
    OutageBegan: () => ["failover", "bad", "no node answers"],
    OutageEnded: (e) => ["failover", "good", `a node answers again after ${span(e.elapsed_s)}`],
    TwoPrimaries: (e) => ["failover", "bad", `${(e.nodes || []).join(" and ")} both take writes`],
    BreakerOpened: (e) => ["failover", "warn", `${e.node} is left alone for ${span(e.open_s)}`],
    BreakerHalfOpened: (e) => ["failover", "", `${e.node} is probed`],
    BreakerClosed: (e) => ["failover", "good", `${e.node} is asked again`],
    RetryScheduled: (e) => ["retry", "", `${e.operation} failed${e.node ? ` on ${e.node}` : ""} (${e.error}); run again${e.is_hop ? " elsewhere" : ""}`],
    CallRecovered: (e) => ["retry", "good", `${e.operation} succeeded${e.node ? ` on ${e.node}` : ""} after ${plural(e.attempts, "attempt")}, ${span(e.elapsed_s)} later`],
    CallFailed: (e) => ["retry", "bad", `${e.operation} was given up after ${span(e.elapsed_s)}: ${words(e.reason)} (${e.error})`],
    CursorResumed: (e) => ["retry", "good", `a scan goes on elsewhere${e.delivered === null ? "" : ` after ${plural(e.delivered, "document")}`}`],
    BudgetEmptied: () => ["retry", "bad", "the retry budget is empty"],
    OutcomeLeftUnknown: (e) => ["unknown", "bad", `${e.operation}${e.node ? ` on ${e.node}` : ""}: nobody knows whether it happened; its caller was told`],
    AcknowledgedLost: (e) => ["unknown", "bad", `${e.node} lacks ${plural(e.lost_bytes, "byte")} of log that had been acknowledged`],
    DurabilityWeakened: (e) => ["unknown", "warn", `a commit${e.node ? ` on ${e.node}` : ""} was answered before a standby had confirmed it`],
  };
  const words = (name) => String(name).replaceAll("_", " ");
  const told = (e) => (SENTENCES[e.event] ? SENTENCES[e.event](e) : ["", "", e.event]);

  // -- the page's own tools -----------------------------------------------------------------------

  const write = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const mark = (element, name, value) => {
    if (element.dataset[name] !== value) element.dataset[name] = value;
  };
  const copy = (id) => $(id).content.firstElementChild.cloneNode(true);
  const svg = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const made = (name, className, text) => {
    const element = document.createElement(name);
    element.className = className;
    element.textContent = text;
    return element;
  };

  // -- what is known ------------------------------------------------------------------------------

  function take(report) {
    const now = Date.now();
    const process = `${report.host} ${report.process}`;  // containers number their processes alike
    const ahead = report.at - now / 1000;
    skew = Math.abs(ahead) > SKEW_S ? ahead : 0;
    processes.set(process, { seen: now, report });
    for (const [key, known] of processes) if (now - known.seen > FORGET_MS) processes.delete(key);
    for (const event of report.events) {
      const key = [process, event.at, event.event, event.cluster, event.node, event.operation].join("|");
      if (!events.has(key)) events.set(key, { ...event, process });
    }
    const surplus = events.size - KEPT;
    if (surplus > 0) {
      const oldest = [...events].sort((a, b) => a[1].at - b[1].at).slice(0, surplus);
      for (const [key] of oldest) events.delete(key);
    }
  }

  function clusters() {
    const joined = new Map();
    const newestFirst = [...processes.values()].sort((a, b) => b.seen - a.seen);
    for (const { report } of newestFirst) {
      for (const [name, cluster] of Object.entries(report.clusters)) {
        const there = joined.get(name);
        if (!there || (there.state === "unknown" && cluster.state !== "unknown")) joined.set(name, cluster);
      }
    }
    return new Map([...joined].sort((a, b) => a[0].localeCompare(b[0])));
  }

  function overall(all) {
    const states = [...all.values()].map((c) => (c.state === "down" && !c.required ? "degraded" : c.state));
    return ["down", "degraded", "ok", "unknown"].find((state) => states.includes(state)) || "unknown";
  }

  // What several processes tell of one failover is one line, and so are retries of a kind that follow each other. An
  // unknown outcome is never joined with another: each is a write that somebody must look after.
  function lines() {
    const grouped = [];
    for (const event of [...events.values()].sort((a, b) => b.at - a.at)) {
      const [kind, tone, text] = told(event);
      const what = kind === "retry" ? [event.operation, event.node, event.error] : [event.to_node || event.node];
      const key = JSON.stringify([event.cluster, event.event, ...what]);
      const like = kind !== "unknown" && grouped.slice(-8).find((line) => line.key === key
        && (kind === "retry" ? line.first - event.at < BURST_S : line.first - event.at < SAME_S && line.process !== event.process));
      if (like) {
        if (kind === "retry") like.times += 1;
        like.first = event.at;
      } else {
        grouped.push({ key, at: event.at, first: event.at, times: 1, kind, tone, text, event: event.event, cluster: event.cluster, process: event.process });
      }
    }
    return grouped;
  }

  // -- what is shown ------------------------------------------------------------------------------

  function show() {
    const all = clusters();
    const state = overall(all);
    const now = Date.now() / 1000 + skew;
    const list = lines();
    const nodes = [...all.values()].flatMap((cluster) => cluster.nodes);
    const waiting = [...all.values()].reduce((sum, cluster) => sum + cluster.waiting.calls, 0);
    const failover = list.find((line) => line.event === "FailoverCompleted");
    mark($("verdict"), "state", state);
    write($("headline"), headline(all, state));
    write($("figure-clusters"), String(all.size));
    write($("figure-nodes"), nodes.length ? `${nodes.filter((node) => node.role !== "unknown").length} of ${nodes.length}` : "–");
    write($("figure-waiting"), String(waiting));
    write($("figure-failover"), failover ? ago(failover.at, now) : "none seen");
    write($("figure-unknown"), String(list.filter((line) => line.event === "OutcomeLeftUnknown").length));
    document.title = state === "ok" ? "undaunted" : `${state} · undaunted`;
    for (const [name, cluster] of all) showCluster(name, cluster, now);
    for (const [name, card] of cards) if (!all.has(name)) { card.element.remove(); cards.delete(name); }
    showTimeline(list);
    return state;
  }

  function headline(all, state) {
    const bad = [...all].filter(([, cluster]) => cluster.state === "down" || cluster.state === "degraded");
    if (!bad.length) return HEADLINES[state];
    const [name, cluster] = bad.find(([, each]) => each.state === "down" && each.required) || bad[0];
    const others = bad.length - 1;
    if (state === "down") return `${name} is down: ${cluster.reason}.${others ? ` ${plural(others, "more cluster")} in trouble.` : ""}`;
    return others ? `Working, with ${bad.length} of ${plural(all.size, "cluster")} in trouble.` : `Working. ${name}: ${cluster.reason}.`;
  }

  function showCluster(name, cluster, now) {
    let card = cards.get(name);
    if (!card) {
      const element = copy("cluster");
      card = { element, rows: new Map(), tape: [], find: (selector) => element.querySelector(selector) };
      card.find("h3").textContent = name;
      card.find("h3").id = `cluster-${cards.size}`;
      element.setAttribute("aria-labelledby", card.find("h3").id);
      card.find("caption").textContent = `Nodes of ${name}`;
      cards.set(name, card);
      $("clusters").append(element);
    }
    mark(card.element, "state", cluster.state);
    write(card.find(".backend"), [cluster.backend, cluster.replica_set, cluster.keyspace, cluster.datacenter].filter(Boolean).join(" · "));
    write(card.find(".badge"), cluster.state);
    write(card.find(".reason"), cluster.reason);
    const { calls, longest_s } = cluster.waiting;
    write(card.find(".waiting"), calls ? `${plural(calls, "call")}, the oldest for ${span(longest_s)}` : "no call");
    write(card.find(".budget"), `${Math.round(cluster.budget.tokens)} of ${Math.round(cluster.budget.capacity)}`);
    write(card.find(".required"), cluster.required ? "yes" : "no");
    card.find("table").hidden = !cluster.nodes.length;
    for (const node of cluster.nodes) showNode(card, node, now);
    const addresses = new Set(cluster.nodes.map((node) => node.address));
    for (const [key, row] of card.rows) if (!addresses.has(key)) { row.element.remove(); card.rows.delete(key); }
    showTape(name, card, cluster.state, now);
  }

  function showNode(card, node, now) {
    let row = card.rows.get(node.address);
    if (!row) {
      const element = copy("node");
      row = { element, latencies: [], since: 0, find: (selector) => element.querySelector(selector) };
      row.find(".address").textContent = node.address;
      card.rows.set(node.address, row);
      card.find("tbody").append(element);
    } else if (row.element.dataset.role !== node.role) {
      row.since = now;
    }
    mark(row.element, "role", node.role);
    row.element.classList.toggle("is-new", now - row.since < 3);
    write(row.find(".role"), node.role === "unknown" ? (node.breaker === "open" ? "lost" : "not seen") : node.role);
    write(row.find(".latency"), node.latency_ms === null || node.role === "unknown" ? "–" : `${node.latency_ms} ms`);
    const breaker = row.find(".breaker");
    mark(breaker, "breaker", node.breaker);
    write(breaker, node.breaker);
    const fault = node.last_fault;
    write(row.find(".fault"), fault ? `${words(fault.error)}, ${ago(fault.at, now)}` : node.error ? words(node.error) : "none");
    row.latencies.push(node.role === "unknown" ? null : node.latency_ms);
    if (row.latencies.length > 60) row.latencies.shift();
    showSpark(row);
  }

  function showSpark(row) {
    const known = row.latencies.filter((value) => value !== null);
    const top = Math.max(1, ...known);
    const points = row.latencies.map((value, i) => (value === null ? null : `${60 - row.latencies.length + i},${(15 - (value / top) * 13).toFixed(1)}`));
    row.find("polyline").setAttribute("points", points.filter(Boolean).join(" "));
  }

  // The tape runs from right to left: a stretch for each state since this page was opened, and a mark for each failover.
  function showTape(name, card, state, now) {
    const last = card.tape.at(-1);
    if (last && last.state === state) last.until = now;
    else card.tape.push({ state, from: last ? last.until : now, until: now });
    while (card.tape.length && card.tape[0].until < now - SPAN_S) card.tape.shift();
    const x = (at) => Math.max(0, SPAN_S - (now - at));
    const parts = card.tape.map((piece) => svg("rect", { class: piece.state, x: x(piece.from), width: Math.max(1, x(piece.until) - x(piece.from)), y: 5, height: 8 }));
    for (const event of events.values()) {
      if (event.cluster === name && event.event === "FailoverCompleted" && event.at > now - SPAN_S) {
        parts.push(svg("rect", { class: "mark-failover", x: x(event.at) - 0.4, width: 0.8, y: 0, height: 18 }));
      }
    }
    card.find(".tape").replaceChildren(...parts);
  }

  function showTimeline(list) {
    const filter = document.querySelector("input[name=filter]:checked").value;
    const wanted = list.filter((line) => filter === "all" || line.kind === filter);
    const key = JSON.stringify([filter, wanted.map((line) => [line.at, line.text, line.times])]);
    if (key === shown) return;
    shown = key;
    $("timeline").replaceChildren(...wanted.map(asItem));
    $("nothing").hidden = wanted.length > 0;
    write($("nothing"), list.length ? "Nothing of this kind." : "Nothing has happened since this process began.");
  }

  function asItem(line) {
    const item = made("li", line.tone, "");
    const at = new Date(line.at * 1000);
    const time = made("time", "", at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }));
    time.dateTime = at.toISOString();
    const dot = made("span", "dot", "");
    dot.setAttribute("aria-hidden", "true");
    item.append(time, dot, made("span", "cluster", line.cluster), made("span", "text", line.text));
    item.append(made("span", "times", line.times > 1 ? `${line.times} times` : ""));
    return item;
  }

  function showFreshness() {
    const age = (Date.now() - answered) / 1000;
    document.body.classList.toggle("is-stale", !isPaused && Boolean(trouble));
    document.body.classList.toggle("is-paused", isPaused);
    if (isPaused) write($("fresh"), "paused");
    else if (trouble) write($("fresh"), answered ? `${trouble}; this is ${span(age)} old` : trouble);
    else if (answered) write($("fresh"), `live, ${plural(processes.size, "process", "processes")}`);
  }

  // -- asking -------------------------------------------------------------------------------------

  async function ask() {
    clearTimeout(timer);
    if (isPaused || document.hidden || isAsking) return;
    let state = "unknown";
    isAsking = true;
    try {
      const answer = await fetch(address, {
        cache: "no-store", credentials: "same-origin", redirect: "manual",
        headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!answer.ok) throw new Error(answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403 ? "login has ended; reload the page" : `the application answers ${answer.status}`);
      take(await answer.json());
      answered = Date.now();
      trouble = "";
      state = show();
    } catch (error) {
      trouble = error.name === "TimeoutError" || error.name === "TypeError" ? "the application does not answer" : error.message;
    }
    isAsking = false;
    showFreshness();
    clearTimeout(timer);
    timer = setTimeout(ask, state === "ok" ? CALM_MS : BUSY_MS);
  }

  $("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    $("pause").setAttribute("aria-pressed", String(isPaused));
    showFreshness();
    ask();
  });
  document.addEventListener("visibilitychange", ask);
  for (const input of document.querySelectorAll("input[name=filter]")) input.addEventListener("change", () => showTimeline(lines()));
  ask();
})();
