"use strict";
// Two images of one grid in one view: `view.x`, `view.y` is the place in the picture that lies in the middle of a pane,
// `view.zoom` how many pixels of the screen one of the picture takes (in height; in width `scene.aspect` times as many).
(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const find = (name) => document.getElementById(name);
  const pictures = [...document.querySelectorAll("figure > img")];
  const names = scene.labels;
  const stage = find("stage"), handle = find("handle"), readout = find("readout");
  const panes = [find("pane-left"), find("pane-right")];
  const selects = [find("left"), find("right")];
  const view = { x: scene.width / 2, y: scene.height / 2, zoom: 1 };
  const chosen = [0, Math.min(1, names.length - 1)];
  let beside = false, border = 0.5, pointer = null, whole = true; // whole: all of the scene is shown, whatever the size

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const paneSize = () => ({ width: panes[0].clientWidth, height: panes[0].clientHeight });

  // ---- drawing

  function fitZoom() {
    const pane = paneSize();
    return Math.min(pane.width / (scene.width * scene.aspect), pane.height / scene.height);
  }

  function draw() {
    const pane = paneSize();
    view.zoom = clamp(view.zoom, fitZoom() / 2, 64);
    view.x = clamp(view.x, 0, scene.width);
    view.y = clamp(view.y, 0, scene.height);
    const across = view.zoom * scene.aspect;
    const shift = `translate(${pane.width / 2 - view.x * across}px, ${pane.height / 2 - view.y * view.zoom}px) scale(${across}, ${view.zoom})`;
    for (const each of panes) {
      each.firstElementChild.style.transform = shift;
      each.classList.toggle("pixels", view.zoom >= 2);
    }
    const x = border * stage.clientWidth, single = names.length < 2 || beside;
    panes[0].style.clipPath = single ? "" : `inset(0 ${Math.max(0, pane.width - x)}px 0 0)`;
    panes[1].style.clipPath = single ? "" : `inset(0 0 0 ${Math.max(0, x)}px)`;
    handle.style.left = `${x}px`;
    handle.setAttribute("aria-valuenow", Math.round(100 * border));
    drawScale(across);
    drawReadout();
  }

  function drawScale(across) {
    const metres = scene.metres ? scene.metres / across : 0; // a pixel of the screen
    const length = metres ? 110 * metres : 110 / across;
    const unit = 10 ** Math.floor(Math.log10(length));
    const round = unit * [5, 2, 1].find((step) => step * unit <= length);
    const [bar, text] = find("scale").children;
    bar.style.width = `${metres ? round / metres : round * across}px`;
    text.textContent = metres ? (round >= 1000 ? `${round / 1000} km` : `${round} m`) : `${+round.toPrecision(3)} px`;
  }

  // ---- where something is

  // longitude and latitude between the nodes, which lie evenly over the picture
  function lonLat(x, y) {
    const last = scene.nodes.count - 1;
    const u = clamp(x / scene.width, 0, 1) * last, v = clamp(y / scene.height, 0, 1) * last;
    const column = Math.min(Math.floor(u), last - 1), row = Math.min(Math.floor(v), last - 1);
    const right = u - column, down = v - row, at = row * (last + 1) + column;
    const between = (numbers) =>
      (numbers[at] * (1 - right) + numbers[at + 1] * right) * (1 - down) +
      (numbers[at + last + 1] * (1 - right) + numbers[at + last + 2] * right) * down;
    const longitude = between(scene.nodes.longitudes);
    return [((longitude + 540) % 360) - 180, between(scene.nodes.latitudes)];
  }

  function placeAt(clientX, clientY) {
    const pane = panes.find((each, i) => {
      const box = each.getBoundingClientRect();
      return (beside || i === 0) && clientX >= box.left && clientX <= box.right && clientY >= box.top && clientY <= box.bottom;
    }) || panes[0];
    const box = pane.getBoundingClientRect(), size = paneSize();
    const left = clientX - box.left, top = clientY - box.top;
    return { left, top, x: view.x + (left - size.width / 2) / (view.zoom * scene.aspect), y: view.y + (top - size.height / 2) / view.zoom };
  }

  function drawReadout() {
    const at = pointer || { x: view.x, y: view.y };
    const inside = at.x >= 0 && at.y >= 0 && at.x < scene.width && at.y < scene.height;
    if (pointer && !inside) {
      readout.textContent = "outside";
      return;
    }
    const x = clamp(at.x, 0, scene.width - 1e-9), y = clamp(at.y, 0, scene.height - 1e-9);
    const parts = [];
    if (scene.nodes) {
      const [longitude, latitude] = lonLat(x, y);
      parts.push(`${Math.abs(latitude).toFixed(5)}° ${latitude >= 0 ? "N" : "S"}, ${Math.abs(longitude).toFixed(5)}° ${longitude >= 0 ? "E" : "W"}`);
      parts.push(`x ${(scene.map[0] + x * scene.map[1]).toFixed(scene.digits)}, y ${(scene.map[2] - y * scene.map[3]).toFixed(scene.digits)}`);
    }
    parts.push(`row ${Math.floor(y * scene.factor[1])}, column ${Math.floor(x * scene.factor[0])} of ${names[0]}`);
    readout.textContent = (pointer ? "" : "middle: ") + parts.join("  ·  ");
  }

  function showMarks(place) {
    for (const each of panes) {
      const mark = each.querySelector(".mark");
      mark.classList.toggle("there", Boolean(place));
      if (place) {
        mark.style.left = `${place.left}px`;
        mark.style.top = `${place.top}px`;
      }
    }
  }

  // ---- moving

  function zoomAt(factor, place) {
    const before = view.zoom;
    whole = false;
    view.zoom = clamp(before * factor, fitZoom() / 2, 64);
    const kept = before / view.zoom; // what lies under `place` stays there
    view.x = place.x + (view.x - place.x) * kept;
    view.y = place.y + (view.y - place.y) * kept;
    draw();
  }

  function fit() {
    whole = true;
    Object.assign(view, { x: scene.width / 2, y: scene.height / 2, zoom: fitZoom() });
    draw();
  }

  function setLayout(value) {
    beside = value === "beside";
    stage.classList.toggle("beside", beside);
    for (const button of find("layout").children) button.setAttribute("aria-pressed", button.dataset.layout === value);
    whole ? fit() : draw();
  }

  function choose(side, image) {
    chosen[side] = image;
    selects[side].value = image;
    const [picture, name] = panes[side].children;
    picture.src = pictures[image].src;
    picture.alt = pictures[image].alt;
    picture.width = scene.width;
    picture.height = scene.height;
    name.textContent = names[image];
    handle.setAttribute("aria-valuetext", `${names[chosen[0]]} left, ${names[chosen[1]]} right`);
  }

  function swap() {
    const [left, right] = chosen;
    choose(0, right);
    choose(1, left);
  }

  const fingers = new Map();

  function spread() {
    const [a, b] = [...fingers.values()];
    return { apart: Math.hypot(a.x - b.x, a.y - b.y) || 1, x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
  }

  function moveBorder(clientX) {
    const box = stage.getBoundingClientRect();
    border = clamp((clientX - box.left) / box.width, 0, 1);
    draw();
  }

  stage.addEventListener("pointerdown", (event) => {
    if (handle.contains(event.target) || event.button > 0) return;
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragging");
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  stage.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (finger) {
      const before = fingers.size === 2 ? spread() : null;
      const byX = event.clientX - finger.x, byY = event.clientY - finger.y;
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      const share = 1 / fingers.size;
      view.x -= (byX * share) / (view.zoom * scene.aspect);
      view.y -= (byY * share) / view.zoom;
      whole = false;
      if (before) {
        const now = spread();
        zoomAt(now.apart / before.apart, placeAt(now.x, now.y));
      }
    }
    pointer = placeAt(event.clientX, event.clientY);
    showMarks(pointer);
    finger ? draw() : drawReadout();
  });
  const lift = (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) stage.classList.remove("dragging");
  };
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);
  stage.addEventListener("pointerleave", () => {
    pointer = null;
    showMarks(null);
    drawReadout();
  });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode ? 30 * event.deltaY : event.deltaY;
    zoomAt(Math.exp(-clamp(lines, -200, 200) / 400), placeAt(event.clientX, event.clientY));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => {
    if (!handle.contains(event.target)) zoomAt(2, placeAt(event.clientX, event.clientY));
  });

  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) moveBorder(event.clientX);
  });
  handle.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    if (!(event.key in steps)) return;
    border = clamp(border + steps[event.key], 0, 1);
    draw();
    event.preventDefault();
    event.stopPropagation();
  });
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60 / view.zoom, middle = { x: view.x, y: view.y };
    const keys = {
      ArrowLeft: () => (view.x -= step / scene.aspect), ArrowRight: () => (view.x += step / scene.aspect),
      ArrowUp: () => (view.y -= step), ArrowDown: () => (view.y += step),
      "+": () => zoomAt(1.5, middle), "=": () => zoomAt(1.5, middle), "-": () => zoomAt(1 / 1.5, middle),
      0: fit, 1: () => zoomAt(1 / view.zoom, middle), s: swap, S: swap,
    };
    if (!(event.key in keys)) return;
    if (event.key.startsWith("Arrow")) whole = false;
    keys[event.key]();
    draw();
    event.preventDefault();
  });

  find("in").addEventListener("click", () => zoomAt(1.5, { x: view.x, y: view.y }));
  find("out").addEventListener("click", () => zoomAt(1 / 1.5, { x: view.x, y: view.y }));
  find("full").addEventListener("click", () => zoomAt(1 / view.zoom, { x: view.x, y: view.y }));
  find("fit").addEventListener("click", fit);
  find("swap").addEventListener("click", swap);
  find("layout").addEventListener("click", (event) => event.target.dataset.layout && setLayout(event.target.dataset.layout));

  // ---- light and dark

  const theme = find("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => (theme.textContent = isDark() ? "Light" : "Dark");
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  dark.addEventListener("change", nameTheme);
  nameTheme();
  theme.hidden = false;

  // ---- start

  selects.forEach((select, side) => {
    names.forEach((name, i) => select.add(new Option(name, i)));
    select.addEventListener("change", () => choose(side, Number(select.value)));
  });
  find("viewer").hidden = false;
  if (names.length < 2) {
    stage.classList.add("alone");
    find("layout").hidden = true;
    document.querySelector(".choices").hidden = true;
  }
  choose(0, chosen[0]);
  choose(1, chosen[1]);
  fit();
  new ResizeObserver(() => (whole ? fit() : draw())).observe(stage);
})();
