// Brings a model to life where a page shows one: loads the drawing code and the mesh, and wires buttons and keys.
// Whatever fails, the picture stays and a sentence says why.
(() => {
  const TURN = Math.PI / 12;
  const CLOSER = 0.8;

  const load = (address) =>
    new Promise((done, failed) => {
      if (window.PortalViewer) {
        done();
        return;
      }
      const script = document.createElement("script");
      script.src = address;
      script.addEventListener("load", done);
      script.addEventListener("error", () => failed(new Error("the viewer did not load")));
      document.head.append(script);
    });

  const fetchMesh = async (address) => {
    const answer = await fetch(address, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the mesh did not load: ${answer.status}`);
    return answer.arrayBuffer();
  };

  const hasWebGL = () => {
    try {
      const context = document.createElement("canvas").getContext("webgl2");
      context?.getExtension("WEBGL_lose_context")?.loseContext();
      return Boolean(context);
    } catch {
      return false;
    }
  };

  const say = (box, state) => {
    box.dataset.state = state;
    const words = { loading: box.dataset.textLoading, error: box.dataset.textError, unsupported: box.dataset.textNone };
    box.querySelector(".viewer-status").textContent = words[state] ?? "";
  };

  const actions = (viewer, button) => ({
    left: () => viewer.turn(-TURN, 0),
    right: () => viewer.turn(TURN, 0),
    up: () => viewer.turn(0, -TURN),
    down: () => viewer.turn(0, TURN),
    closer: () => viewer.zoom(CLOSER),
    farther: () => viewer.zoom(1 / CLOSER),
    reset: () => viewer.reset(),
    wireframe: () => {
      const isOn = button("wireframe").getAttribute("aria-pressed") !== "true";
      button("wireframe").setAttribute("aria-pressed", String(isOn));
      viewer.wireframe(isOn);
    },
  });

  const KEYS = {
    ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
    "+": "closer", "=": "closer", "-": "farther", 0: "reset", Home: "reset", w: "wireframe", W: "wireframe",
  };

  const begin = async (box) => {
    if (!hasWebGL()) {
      say(box, "unsupported");
      return;
    }
    say(box, "loading");
    const canvas = box.querySelector("canvas");
    let viewer = null;
    try {
      const wanted = [fetchMesh(box.dataset.mesh), box.dataset.oldMesh ? fetchMesh(box.dataset.oldMesh) : null];
      const [mesh, old] = await Promise.all([...wanted, load(box.dataset.bundle)]);
      // Shown before it is drawn on: what has no size cannot be measured.
      say(box, "ready");
      viewer = window.PortalViewer.open(canvas, { onLost: () => say(box, "error") });
      viewer.add(mesh);
      if (old) viewer.add(old, { isOld: true });
    } catch (trouble) {
      viewer?.close();
      say(box, "error");
      console.info(trouble.message);
      return;
    }
    const button = (name) => box.querySelector(`[data-view=${name}]`);
    const all = actions(viewer, button);
    for (const name of Object.keys(all)) button(name)?.addEventListener("click", all[name]);
    canvas.addEventListener("keydown", (event) => {
      const name = KEYS[event.key];
      if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      all[name]();
    });
    box.viewer = viewer;
  };

  const start = () => {
    for (const box of document.querySelectorAll("[data-mesh]:not([data-state])")) begin(box);
  };
  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("htmx:afterSettle", start);
})();
