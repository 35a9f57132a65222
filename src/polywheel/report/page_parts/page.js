// The page of a run. Its data is in the elements #run and #logs; page.py describes it. Texts come from
// logs and strangers: they reach the page only as text nodes and attribute values, never as markup.
"use strict";
(() => {
  const STATES = {
    "failed": ["✗", "bad"], "test-failed": ["!", "bad"], "no-python": ["?", "warn"], "stopped": ["■", "warn"],
    "not-started": ["○", "none"], "elsewhere": ["→", "none"],
    "built": ["✓", "good"], "stamped": ["+", "good"], "up-to-date": ["=", "good"],
  };
  const PROBLEMS = ["failed", "test-failed", "no-python"];
  const MOST_SHOWN = 12;
  const CELLS_AT_ONCE = 400;
  const MOST_LANES = 256;

  const parse = (id) => JSON.parse(document.getElementById(id).textContent);
  const byId = (id) => document.getElementById(id);
  const run = parse("run");
  const builds = new Map(run.builds.map((build) => [build.id, build]));
  const jobs = new Map(run.jobs.map((job) => [job.id, job]));
  const previous = run.previous && new Map(Object.entries(run.previous));
  let logs = null; // parsed when the first one is shown

  // --- elements and texts ---

  const SVG = new Set(["svg", "rect", "text", "title"]);
  /** Create an element. Functions are event handlers; null and false leave an attribute or a child out. */
  function make(name, attributes = {}, ...children) {
    const element = SVG.has(name)
      ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(key, value);
      else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== false));
    return element;
  }
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const words = (state) => state.replaceAll("-", " ");
  const symbol = (state) => (STATES[state] || ["·", "none"])[0];
  const kind = (state) => (STATES[state] || ["·", "none"])[1];
  const badge = (state) => make("span", { class: `badge ${kind(state)}` }, `${symbol(state)} ${words(state)}`);
  const percent = (part, whole) => (whole > 0 ? `${Math.round((100 * part) / whole)} %` : "0 %");

  function size(bytes) {
    let value = bytes, unit = 0;
    while (value >= 999.5 && unit < 4) { value /= 1000; unit += 1; }
    return `${unit ? Number(value.toPrecision(3)) : value} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
  }
  function seconds(value) {
    if (value < 59.95) return `${Number(value.toFixed(1))}\u00a0s`; // no-break spaces
    const whole = Math.round(value);
    if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min\u00a0${whole % 60}\u00a0s`;
    return `${Math.floor(whole / 3600)}\u00a0h\u00a0${Math.floor((whole % 3600) / 60)}\u00a0min`;
  }
  /** The change of a wheel's size against the earlier report; empty if it is not known or below 0.1 %. */
  function change(job) {
    const before = previous && previous.get(job.id);
    if (!previous || job.size === null) return "";
    if (!before || before.size === null) return "new";
    const part = before.size ? (100 * (job.size - before.size)) / before.size : 0;
    return Math.abs(part) < 0.1 ? "" : `${part > 0 ? "▲" : "▼"}${Number(Math.abs(part).toPrecision(2))}%`;
  }
  const secondsOf = (job) => (job.seconds === null ? (builds.get(job.build) || {}).seconds || 0 : job.seconds);
  const nameOf = (job) => job.label || (job.properties.length ? job.properties.join(", ") : "non-variant");
  const placeOf = (job) => `${job.pythons.join(", ")} on ${job.targets.join(", ")}`;
  const link = (job) => make("button", { type: "button", class: "link", click: () => open(job) }, job.id);

  /** A list of buttons of jobs. The others appear when its last button is pressed. */
  function linkList(names) {
    const list = make("ul");
    const known = names.filter((name) => jobs.has(name)).map((name) => jobs.get(name));
    list.append(...known.slice(0, MOST_SHOWN).map((job) => make("li", {}, link(job))));
    if (known.length > MOST_SHOWN) {
      const more = make("li", {}, make("button", { type: "button", click: () => {
        const items = known.slice(MOST_SHOWN).map((job) => make("li", {}, link(job)));
        more.replaceWith(...items);
        items[0].firstChild.focus();
      } }, `Show ${known.length - MOST_SHOWN} more`));
      list.append(more);
    }
    return list;
  }

  // --- the beginning: result and failures ---

  const states = new Map();
  for (const job of run.jobs) states.set(job.state, (states.get(job.state) || 0) + 1);

  function showResult() {
    const bad = PROBLEMS.reduce((sum, state) => sum + (states.get(state) || 0), 0);
    const total = run.jobs.length;
    const result = run.runs.some((one) => one.interrupted) ? "The run was interrupted. " : "";
    const kinds = Object.keys(STATES).filter((state) => states.has(state));
    byId("result").textContent = result + (total === 0 ? "No wheel was selected."
      : `${bad ? `✗ ${bad.toLocaleString("en")} of ${count(total, "wheel")} ${bad === 1 ? "has" : "have"} a problem` : `✓ ${count(total, "wheel")}, no problems`}: ${
        kinds.map((state) => `${states.get(state).toLocaleString("en")} ${words(state)}`).join(", ")}.`);
    const bytes = run.jobs.reduce((sum, job) => sum + (job.size || 0), 0);
    const of = (key) => [...new Set(run.runs.map((one) => one[key]).filter(Boolean))].join(", ");
    const pairs = [
      ["began", of("began").replaceAll("T", " ").replaceAll("+00:00", " UTC")], ["time", seconds(run.runs.reduce((sum, one) => sum + one.seconds, 0))],
      ["builds", run.builds.length.toLocaleString("en")], ["size of all wheels", size(bytes)],
      ["machine", [...new Set(run.runs.map((one) => one.machine).filter(Boolean)
        .map((machine) => `${machine.system}, ${count(machine.processors, "processor")}`))].join("; ")],
      ["source", of("source")], ["output", of("out")], ["reports", run.runs.length > 1 ? String(run.runs.length) : ""],
    ];
    byId("facts").append(...facts(pairs).children);
  }

  /** The jobs with problems by their first error line, those with the most jobs first. */
  function failureGroups() {
    const groups = new Map();
    for (const build of run.builds) {
      const failed = build.jobs.filter((name) => jobs.has(name) && PROBLEMS.includes(jobs.get(name).state));
      if (!failed.length && !PROBLEMS.includes(build.state)) continue;
      const cause = build.cause || words(build.state);
      const group = groups.get(cause) || groups.set(cause, { errors: new Set(), jobs: [] }).get(cause);
      group.errors.add((build.error || "").split("\n")[0]);
      group.jobs.push(...(failed.length ? failed : build.jobs));
    }
    return [...groups].sort((one, other) => other[1].jobs.length - one[1].jobs.length);
  }

  function showFailures() {
    const groups = failureGroups();
    byId("failures").hidden = groups.length === 0;
    if (groups.length > 1) byId("failures-title").textContent = `Failures: ${groups.length} causes`;
    const list = byId("failure-list");
    const add = (some) => list.append(...some.map(([cause, group]) => {
      const [first] = group.errors;
      const more = group.errors.size === 1 && first && first !== cause && !first.endsWith(cause) ? first : null;
      return make("li", { class: "failure" },
        make("p", { class: "error name" }, `✗ ${cause}`),
        make("p", { class: "name" }, [count(group.jobs.length, "wheel"), more].filter(Boolean).join(": ")), linkList(group.jobs));
    }));
    add(groups.slice(0, MOST_SHOWN));
    if (groups.length > MOST_SHOWN) {
      const item = make("li", {}, make("button", { type: "button", click: () => {
        item.remove();
        add(groups.slice(MOST_SHOWN));
        list.children[MOST_SHOWN].querySelector("button").focus();
      } }, `Show ${groups.length - MOST_SHOWN} more causes`));
      list.append(item);
    }
  }

  // --- filters ---

  const chosen = new Set(); // states
  function prepareFilters() {
    const properties = [...new Set(run.jobs.flatMap((job) => job.properties))].sort();
    byId("filter-property").append(...properties.map((name) => make("option", { value: name }, name)));
    byId("filter-states").append(...Object.keys(STATES).filter((state) => states.has(state)).map((state) => {
      const button = make("button", { type: "button", class: `state ${kind(state)}`, "aria-pressed": "false", click: () => {
        if (!chosen.delete(state)) chosen.add(state);
        button.setAttribute("aria-pressed", String(chosen.has(state)));
        showGrid();
      } }, `${symbol(state)} ${words(state)} ${states.get(state).toLocaleString("en")}`);
      return button;
    }));
    let timer = 0;
    byId("filter-text").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(showGrid, 120); });
    byId("filter-property").addEventListener("change", showGrid);
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("reset", () => {
      chosen.clear();
      for (const button of byId("filter-states").children) button.setAttribute("aria-pressed", "false");
      setTimeout(showGrid); // after the fields are reset
    });
  }
  function textOf(job) {
    const error = (builds.get(job.build) || {}).error || "";
    return [job.id, job.label, job.file, error, ...job.properties, ...job.pythons, ...job.targets].join("\n").toLowerCase();
  }
  function filteredJobs() {
    const wordsOfText = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const property = byId("filter-property").value;
    return run.jobs.filter((job) => (!chosen.size || chosen.has(job.state))
      && (!property || job.properties.includes(property))
      && (!wordsOfText.length || wordsOfText.every((word) => textOf(job).includes(word))));
  }

  // --- the grid ---

  let drawing = 0;
  /** Draw the wheels that the filters leave: the first rows now, the others in later frames. */
  function showGrid() {
    const shown = filteredJobs();
    const rows = new Map(), columns = new Map();
    for (const job of shown) {
      const key = `${job.label || ""}\n${job.properties.join("\n")}`;
      const row = rows.get(key) || rows.set(key, { job, cells: new Map() }).get(key);
      for (const target of job.targets) {
        for (const python of job.pythons) {
          const place = `${target}\n${python}`;
          columns.set(place, { target, python });
          if (!row.cells.has(place)) row.cells.set(place, []);
          row.cells.get(place).push(job);
        }
      }
    }
    const targets = [...new Set([...columns.values()].map((column) => column.target))];
    const places = targets.flatMap((target) => [...columns].filter(([, column]) => column.target === target));
    byId("count").textContent = shown.length === run.jobs.length
      ? count(shown.length, "wheel") : `${shown.length.toLocaleString("en")} of ${count(run.jobs.length, "wheel")}`;
    const table = byId("grid");
    table.parentElement.hidden = byId("grid-help").hidden = shown.length === 0;
    byId("filters").hidden = run.jobs.length === 0;
    const body = make("tbody");
    table.replaceChildren(
      make("thead", {},
        make("tr", {}, make("th", { class: "row", scope: "col", rowspan: "2" }, "Variant"), targets.map((target) =>
          make("th", { scope: "colgroup", colspan: String(places.filter(([, column]) => column.target === target).length) }, make("span", {}, target)))),
        make("tr", {}, places.map(([, column]) => make("th", { scope: "col" }, column.python)))),
      body);
    table.style.width = `calc(var(--first) + ${places.length} * var(--cell))`;
    table.firstChild.rows[0].cells[0].style.width = "var(--first)";
    const waiting = [...rows.values()];
    const turn = ++drawing;
    const draw = () => {
      if (turn !== drawing) return;
      const some = waiting.splice(0, Math.max(1, Math.ceil(CELLS_AT_ONCE / Math.max(1, places.length))));
      body.append(...some.map((row) => drawRow(row, places)));
      if (waiting.length) requestAnimationFrame(() => setTimeout(draw));
      else performance.mark("grid-complete");
    };
    draw();
    const first = body.querySelector("button");
    if (first) first.tabIndex = 0;
  }
  function drawRow(row, places) {
    const { job } = row;
    const properties = job.label && job.properties.length
      ? make("span", { class: "properties" }, job.properties.map((name) => name.replaceAll(" ", "")).join(", ")) : null;
    return make("tr", {}, make("th", { class: "row", scope: "row" }, nameOf(job), properties),
      places.map(([place]) => make("td", {}, (row.cells.get(place) || []).map(drawCell))));
  }
  function drawCell(job) {
    const time = secondsOf(job), grown = change(job);
    const first = job.size === null ? words(job.state) : `${size(job.size)} ${grown}`.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind(job.state);
    button.tabIndex = -1;
    button.dataset.job = job.id;
    button.textContent = `${symbol(job.state)} ${first}${time ? `\n${seconds(time)}` : ""}`;
    button.setAttribute("aria-label", `${nameOf(job)}, ${placeOf(job)}: ${words(job.state)}${
      job.size === null ? "" : `, ${size(job.size)}`}${grown ? `, ${grown.replace("▲", "larger by ").replace("▼", "smaller by ")}` : ""}${
      time ? `, ${seconds(time)}` : ""}`);
    return button;
  }
  function prepareGrid() {
    const table = byId("grid");
    table.className = previous ? "compared" : "";
    table.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) { select(button); open(jobs.get(button.dataset.job)); }
    });
    table.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const cell = event.target.closest("td");
      if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
      let next = null;
      if (event.key === "Home") next = cell.parentElement.querySelector("button");
      else if (event.key === "End") next = [...cell.parentElement.querySelectorAll("button")].at(-1);
      else if (steps[event.key]) next = neighbour(cell, event.target, ...steps[event.key]);
      else return;
      event.preventDefault();
      if (next) { select(next); next.focus(); }
    });
  }
  /** The next wheel in a direction. Empty cells are skipped; a cell may have several wheels. */
  function neighbour(cell, button, down, right) {
    const sibling = (down || right) > 0 ? button.nextElementSibling : button.previousElementSibling;
    if (sibling) return sibling;
    const rows = [...cell.closest("tbody").rows];
    let row = rows.indexOf(cell.parentElement) + down, column = cell.cellIndex + right;
    while (rows[row] && column > 0 && rows[row].cells[column]) {
      const buttons = rows[row].cells[column].children;
      if (buttons.length) return buttons[(down || right) > 0 ? 0 : buttons.length - 1];
      row += down; column += right;
    }
    return null;
  }
  function select(button) {
    for (const other of byId("grid").querySelectorAll("button[tabindex='0']")) other.tabIndex = -1;
    button.tabIndex = 0;
  }

  // --- the details of a wheel ---

  const dialog = byId("detail");
  function section(title, ...children) {
    const some = children.flat().filter(Boolean);
    return some.length ? make("section", {}, make("h3", {}, title), ...some) : null;
  }
  const list = (items) => (items.length ? make("ul", {}, items.map((item) => make("li", { class: "name" }, item))) : null);
  const facts = (pairs) => make("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

  function open(job) {
    if (!job) return;
    const build = builds.get(job.build) || { setup: [], tool_logs: [], jobs: [] };
    const before = previous && previous.get(job.id);
    const cache = build.compiler_cache;
    dialog.replaceChildren(...[
      make("header", {}, make("h2", { id: "detail-title", class: "name" }, job.id),
        make("button", { type: "button", click: () => dialog.close() }, "Close")),
      facts([
        ["state", badge(job.state)], ["variant", nameOf(job)], ["Python", job.pythons.join(", ")], ["target", job.targets.join(", ")],
        ["file", job.file], ["size", job.size === null ? null : `${size(job.size)} (${job.size.toLocaleString("en")} bytes)`],
        ["change", previous && job.size !== null ? (before && before.size !== null
          ? `${change(job) || "less than 0.1%"} against ${size(before.size)}` : "not in the earlier report") : null],
        ["SHA-256", job.sha256 ? make("code", {}, job.sha256) : null],
        ["time of the wheel", job.seconds === null ? null : seconds(job.seconds)],
        ["time of the build", build.seconds ? `${seconds(build.seconds)}, ${seconds(build.hook_seconds || 0)} of it in the real backend` : null],
        ["compiler cache", cache ? `${count(cache.hits, "hit")}, ${cache.misses.toLocaleString("en")} misses` : null],
        ["wheels of the same build", build.jobs.length > 1 ? String(build.jobs.length) : null],
      ]),
      build.error && section("Error", make("pre", {}, build.error)),
      section("Properties", list(job.properties)),
      section("Why it was built", list(job.reasons)),
      section("Build setup", list(build.setup.map((entry) => `${entry.name} = ${entry.values.join(" ")} (from ${entry.origin})`))),
      job.test && section("Test", facts([["state", words(job.test.state)], ["reason", job.test.reason], ["time", seconds(job.test.seconds || 0)],
        ["emulated CPU", job.test.cpu], ["wheel", job.test.wheel]])),
      job.audit && section("Audit", list(job.audit.map((finding) => [`${finding.severity}: ${finding.what}`, finding.file, finding.symbol,
        finding.instruction].filter(Boolean).join(" · "))) || make("p", {}, "no findings")),
      job.reproduce && section("Build it again", make("pre", { id: "command" }, job.reproduce), copyButton(job.reproduce)),
      job.test && section("Log of the test", logParts(job.test.log, [], "tests", job.id)),
      section("Log of the build", logParts(build.log, build.tool_logs, "builds", build.id)),
    ].filter(Boolean));
    history.replaceState(null, "", `#job=${encodeURIComponent(job.id)}`);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  function copyButton(text) {
    const said = make("span", { role: "status" });
    return [make("button", { type: "button", click: async () => {
      let copied = true;
      try { await navigator.clipboard.writeText(text); } catch { copied = false; }
      if (!copied) getSelection().selectAllChildren(byId("command"));
      said.textContent = copied ? "copied" : "selected: press Ctrl+C to copy it";
    } }, "Copy the command"), " ", said];
  }

  function logParts(path, others, part, id) {
    if (!path) return [];
    logs = logs || parse("logs");
    const text = Object.hasOwn(logs[part], id) ? logs[part][id] : null;
    const where = [path, ...others].map((name) => make("p", { class: "soft name" }, name));
    if (text === null) return [...where, make("p", {}, "Its text is not in this page.")];
    const pre = make("pre", { class: "log", tabindex: "0", "aria-label": "the end of the log" }, text);
    const status = make("span", { role: "status" });
    const field = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
    let marks = [], current = -1;
    const go = (step) => {
      if (!marks.length) return;
      if (current >= 0) marks[current].className = "";
      current = (current + step + marks.length) % marks.length;
      marks[current].className = "current";
      pre.scrollTop = marks[current].offsetTop - pre.offsetTop - pre.clientHeight / 2;
      status.textContent = `${current + 1} of ${marks.length}`;
    };
    field.addEventListener("input", () => {
      const parts = split(text, field.value);
      marks = [];
      pre.replaceChildren(...parts.map((part, index) => {
        if (index % 2 === 0) return part;
        marks.push(make("mark", {}, part));
        return marks.at(-1);
      }));
      current = -1;
      status.textContent = field.value && !marks.length ? "not found" : "";
      go(1);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { event.preventDefault(); go(event.shiftKey ? -1 : 1); }
    });
    setTimeout(() => { pre.scrollTop = pre.scrollHeight; });
    return [...where, make("p", { class: "search" }, make("label", {}, "Search in the log ", field),
      make("button", { type: "button", click: () => go(-1) }, "Previous"), make("button", { type: "button", click: () => go(1) }, "Next"), status), pre];
  }
  /** A text in parts: every second one is an occurrence of the word, in any case. */
  function split(text, word) {
    if (!word) return [text];
    return text.split(new RegExp(`(${word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")})`, "iu"));
  }

  // --- time ---

  function showTime() {
    const ran = run.builds.filter((build) => build.seconds > 0);
    byId("time").hidden = ran.length === 0;
    if (!ran.length) return;
    const hits = ran.reduce((sum, build) => sum + ((build.compiler_cache || {}).hits || 0), 0);
    const misses = ran.reduce((sum, build) => sum + ((build.compiler_cache || {}).misses || 0), 0);
    const reused = (states.get("up-to-date") || 0) + (states.get("stamped") || 0);
    const placed = ran.filter((build) => build.slot !== null && build.started !== null);
    const lanes = lanesOf(placed);
    const whole = lanes.reduce((sum, lane) => sum + lane.seconds, 0), idle = lanes.reduce((sum, lane) => sum + lane.idle, 0);
    const unused = run.runs.reduce((sum, one) => sum + (one.slots || 0), 0) - lanes.length;
    const last = placed.reduce((latest, build) => (!latest || end(build) > end(latest) ? build : latest), null);
    byId("time-summary").textContent = [
      placed.length ? `${count(placed.length, "build")} on ${count(lanes.length, "slot")}, idle for ${seconds(idle)} (${percent(idle, whole)}).` : "",
      unused > 0 ? `${count(unused, "slot")} had nothing to do.` : "",
      last && run.runs.length === 1 ? `${last.id} ended last, after ${seconds(end(last))}.` : "",
      hits + misses ? `Compiler cache: ${hits.toLocaleString("en")} hits, ${misses.toLocaleString("en")} misses (${percent(hits, hits + misses)}).` : "",
      `Reused: ${count(reused, "wheel")} (${percent(reused, run.jobs.length)}).`,
    ].filter(Boolean).join(" ");
    const slowest = [...ran].sort((one, other) => other.seconds - one.seconds).slice(0, 10);
    byId("slowest").append(
      make("thead", {}, make("tr", {}, ["Build", "State", "Time", "Real backend", "Cache hits"].map((title, index) =>
        make("th", { scope: "col", class: index > 1 ? "number" : null }, title)))),
      make("tbody", {}, slowest.map((build) => make("tr", {},
        make("th", { scope: "row" }, jobs.has(build.jobs[0]) ? link(jobs.get(build.jobs[0])) : build.id),
        make("td", {}, badge(build.state)), make("td", { class: "number" }, seconds(build.seconds)),
        make("td", { class: "number" }, percent(build.hook_seconds || 0, build.seconds)),
        make("td", { class: "number" }, build.compiler_cache ? percent(build.compiler_cache.hits, build.compiler_cache.hits + build.compiler_cache.misses) : "–")))));
    if (placed.length) {
      new IntersectionObserver((entries, observer) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        showTimeline(lanes);
      }, { rootMargin: "300px" }).observe(byId("timeline"));
    }
  }
  const end = (build) => build.started + build.seconds;
  /** The slots that had builds, of each run, with their idle time. */
  function lanesOf(placed) {
    const lanes = new Map();
    for (const build of placed) {
      const key = `${build.run} ${build.slot}`;
      if (!lanes.has(key)) lanes.set(key, { run: build.run, slot: build.slot, builds: [], seconds: run.runs[build.run].seconds });
      lanes.get(key).builds.push(build);
    }
    for (const lane of lanes.values()) {
      lane.seconds = Math.max(lane.seconds, ...lane.builds.map(end));
      lane.idle = Math.max(0, lane.seconds - lane.builds.reduce((sum, build) => sum + build.seconds, 0));
    }
    return [...lanes.values()].sort((one, other) => one.run - other.run || one.slot - other.slot);
  }
  function showTimeline(lanes) {
    const whole = Math.max(...lanes.map((lane) => lane.seconds)) || 1;
    const ticks = [0, 0.5, 1].map((part) => make("span", {}, seconds(whole * part)));
    const several = run.runs.length > 1;
    byId("timeline").replaceChildren(make("table", { "aria-label": "Builds on their slots" },
      make("colgroup", {}, make("col", { class: "slot" }), make("col"), make("col", { class: "figure" })),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Slot"), make("th", { scope: "col" }, make("div", { class: "axis" }, ticks)),
        make("th", { scope: "col", class: "number" }, "Idle"))),
      make("tbody", {}, lanes.slice(0, MOST_LANES).map((lane) => {
        const failed = lane.builds.filter((build) => kind(build.state) === "bad").length;
        return make("tr", {}, make("th", { scope: "row" }, `${several ? `${lane.run + 1}.` : ""}${lane.slot}`),
          make("td", { class: "lane" }, make("svg", { role: "img", "aria-label": `${count(lane.builds.length, "build")}, ${failed} failed` },
            lane.builds.map((build) => bar(build, whole)).flat())),
          make("td", { class: "number" }, seconds(lane.idle)));
      }))));
    if (lanes.length > MOST_LANES) byId("timeline").append(make("p", {}, `${lanes.length - MOST_LANES} more slots are not shown.`));
  }
  function bar(build, whole) {
    const x = (100 * build.started) / whole, width = Math.max(0.05, (100 * build.seconds) / whole);
    const label = kind(build.state) === "bad" || width > (innerWidth < 640 ? 9 : 3) ? make("text", { x: `${x + Math.min(0.4, width / 4)}%`, y: "70%" }, symbol(build.state)) : null;
    return [make("rect", { class: kind(build.state), x: `${x}%`, width: `${width}%`, y: "8%", height: "84%", click: () => open(jobs.get(build.jobs[0])) },
      make("title", {}, `${build.id}: ${words(build.state)}, ${seconds(build.seconds)}`)), label].filter(Boolean);
  }

  // --- warnings and stale wheels ---

  function showMessages() {
    byId("warnings").hidden = run.warnings.length === 0;
    byId("warning-list").append(...run.warnings.map((entry) => make("li", {},
      make("p", { class: "name" }, make("strong", {}, `${entry.level}: `), entry.text), linkList(entry.jobs))));
    byId("stale").hidden = run.stale.length === 0;
    byId("stale-list").append(...run.stale.map((entry) => make("li", { class: "name" }, `${entry.file}: ${entry.why}${entry.removed ? " (removed)" : ""}`)));
  }

  dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  showResult();
  showFailures();
  prepareFilters();
  prepareGrid();
  showGrid();
  showTime();
  showMessages();
  if (location.hash.startsWith("#job=")) {
    let name = "";
    try { name = decodeURIComponent(location.hash.slice(5)); } catch { /* a damaged link opens nothing */ }
    open(jobs.get(name));
  }
  performance.mark("page-shown");
})();
