// What only the browser can do: light and dark before the first paint, sound, the whole screen, shortcuts.
(() => {
  const THEMES = ["auto", "light", "dark"];
  const WORDS = { auto: "as the system says", light: "light", dark: "dark" };
  const keep = (name, value) => { try { localStorage.setItem("snyper." + name, value); } catch (e) { /* private */ } };
  const kept = (name, fallback) => { try { return localStorage.getItem("snyper." + name) || fallback; } catch (e) { return fallback; } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = kept("theme", "auto");
  let sound = kept("sound", "off") === "on";
  let audio = null;

  const isDark = () => theme === "dark" || (theme === "auto" && system.matches);

  function applyTheme() {
    document.documentElement.classList.toggle("dark", isDark());
    if (window.Quasar) Quasar.Dark.set(isDark());
    document.getElementById("nicegui-color-scheme")?.setAttribute("content", isDark() ? "dark" : "light");
    const button = document.getElementById("theme-button");
    if (!button) return;
    button.dataset.theme = theme;
    label(button, "Light or dark: " + WORDS[theme]);
  }

  function applySound() {
    const button = document.getElementById("sound-button");
    if (!button) return;
    button.setAttribute("aria-pressed", String(sound));
    label(button, sound ? "Sound is on" : "Sound is off");
  }

  function label(button, words) {
    button.setAttribute("aria-label", words);
    button.title = words;
  }

  // Frequency in Hz, start and length in seconds.
  const TUNES = {
    hit: [[880, 0, 0.09], [1320, 0.07, 0.14]],
    miss: [[196, 0, 0.2]],
    lost: [[330, 0, 0.15], [220, 0.16, 0.3]],
    game_score: [[1175, 0, 0.12]],
    tick: [[660, 0, 0.08]],
    go: [[990, 0, 0.35]],
    game_over: [[659, 0, 0.15], [784, 0.15, 0.15], [1047, 0.3, 0.4]],
  };

  function play(name) {
    if (!sound || !TUNES[name]) return;
    audio = audio || new AudioContext();
    if (audio.state === "suspended") audio.resume();
    for (const [hertz, at, length] of TUNES[name]) {
      const tone = audio.createOscillator(), loudness = audio.createGain(), start = audio.currentTime + at;
      tone.type = "triangle";
      tone.frequency.value = hertz;
      loudness.gain.setValueAtTime(0.0001, start);
      loudness.gain.exponentialRampToValueAtTime(0.25, start + 0.01);
      loudness.gain.exponentialRampToValueAtTime(0.0001, start + length);
      tone.connect(loudness).connect(audio.destination);
      tone.start(start);
      tone.stop(start + length);
    }
  }

  const isWall = () => document.documentElement.classList.contains("wall");

  function setWall(on) {
    document.documentElement.classList.toggle("wall", on);
    if (on && document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => {});
    if (!on && document.fullscreenElement) document.exitFullscreen();
  }

  // Whoever has signed out in another tab is shown so here: the server refuses this tab's socket from then on,
  // which may be before it has ever connected.
  const WATCH_MS = 100;
  const watching = setInterval(() => {
    if (!window.socket) return;
    clearInterval(watching);
    for (const event of ["disconnect", "connect_error"]) window.socket.on(event, leaveIfSignedOut);
  }, WATCH_MS);

  async function leaveIfSignedOut() {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", redirect: "manual" });
      if (answer.type === "opaqueredirect") location.reload();
    } catch (e) { /* the dashboard is away, and not the session */ }
  }

  window.snyper = {
    ready() { applyTheme(); applySound(); },
    heard: play,
    nextTheme() {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % 3];
      keep("theme", theme);
      applyTheme();
    },
    toggleSound() {
      sound = !sound;
      keep("sound", sound ? "on" : "off");
      applySound();
      play("hit");
    },
    toggleWall() { setWall(!isWall()); },
  };

  document.documentElement.classList.toggle("wall", new URLSearchParams(location.search).get("wall") === "1");
  applyTheme();
  system.addEventListener("change", applyTheme);
  document.addEventListener("fullscreenchange", () => {
    if (!document.fullscreenElement) document.documentElement.classList.remove("wall");
  });
  const isWith = (event) => event.ctrlKey || event.metaKey || event.altKey || event.repeat;
  // Where no text is typed, on any keyboard: one without Latin letters has another one on that key.
  const TYPED = "input:not([readonly], [type=checkbox], [type=radio]), textarea, [contenteditable]";
  const isStop = ({ key = "", code, target }) =>
    (key.toUpperCase() === "X" || (code === "KeyX" && key > "~")) && !target.closest(TYPED);

  document.addEventListener("keydown", (event) => {
    if (!isWith(event) && isStop(event)) emitEvent("shortcut", "X");
  }, true);  // before a list that has the focus keeps it for itself
  document.addEventListener("keydown", (event) => {
    if (isWith(event) || isStop(event)) return;
    if (event.target.closest("input, textarea, select, [contenteditable], [role=combobox], .q-dialog")) return;
    const key = event.key;
    if (key === "t") snyper.nextTheme();
    else if (key === "m") snyper.toggleSound();
    else if (key === "f" && location.pathname === "/game") snyper.toggleWall();
    else if (key === "Escape" && isWall()) setWall(false);
    else if ("1234567?".includes(key) || (event.shiftKey && "SLA".includes(key))) emitEvent("shortcut", key);
  });
})();
