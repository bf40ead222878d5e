// Draws a model, or a changed one over the one before, on a canvas. static/js/viewer.js loads this where it is wanted.
//
//   const viewer = PortalViewer.open(canvas, { onLost });   throws where there is no WebGL
//   viewer.add(bytes, { isOld });                           binary STL in millimetres; throws for what is none
//   viewer.turn(dx, dy); viewer.zoom(factor); viewer.reset(); viewer.wireframe(isOn); viewer.close();
//
// It draws only when something has changed. Colours are the canvas's own --viewer-part and --viewer-old.

import {
  AmbientLight, Box3, BufferAttribute, BufferGeometry, Color, DirectionalLight, DoubleSide, FrontSide, LineSegments,
  LineBasicMaterial, Mesh, MeshStandardMaterial, PerspectiveCamera, Scene, Sphere, Vector3, WebGLRenderer,
  EdgesGeometry, WireframeGeometry,
} from "three";

const HEADER = 84;
const RECORD = 50;
const START = { theta: -Math.PI / 5, phi: Math.PI / 3, distance: 1 };
const NEAREST = 0.25;
const FARTHEST = 4;
const MOVE_MS = 180;
// Lines around every edge of a fine mesh would be as slow as they are useless.
const MOST_EDGES = 60_000;

function read(bytes) {
  const view = new DataView(bytes);
  const count = bytes.byteLength >= HEADER ? view.getUint32(80, true) : 0;
  if (!count || bytes.byteLength < HEADER + count * RECORD) throw new Error("not a binary STL");
  const corners = new Float32Array(count * 9);
  const normals = new Float32Array(count * 9);
  for (let triangle = 0; triangle < count; triangle += 1) {
    const from = HEADER + triangle * RECORD;
    const to = triangle * 9;
    for (let axis = 0; axis < 3; axis += 1) {
      const normal = view.getFloat32(from + axis * 4, true);
      for (let corner = 0; corner < 3; corner += 1) {
        normals[to + corner * 3 + axis] = normal;
        corners[to + corner * 3 + axis] = view.getFloat32(from + 12 + corner * 12 + axis * 4, true);
      }
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(corners, 3));
  geometry.setAttribute("normal", new BufferAttribute(normals, 3));
  geometry.computeBoundingBox();
  return geometry;
}

function open(canvas, { onLost } = {}) {
  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, powerPreference: "low-power" });
  renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
  const scene = new Scene();
  const camera = new PerspectiveCamera(35, 1, 0.1, 1000);
  camera.up.set(0, 0, 1);
  const sun = new DirectionalLight(0xffffff, 2.2);
  scene.add(new AmbientLight(0xffffff, 1.1), sun);
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const bodies = [];
  const centre = new Vector3();
  let radius = 1;
  let now = { ...START };
  let goal = null;
  let frame = 0;

  const draw = () => {
    const distance = (radius * 1.15 * now.distance) / Math.sin((camera.fov * Math.PI) / 360);
    const aspect = Math.min(camera.aspect, 1);
    const reach = distance / aspect;
    camera.position.set(
      centre.x + reach * Math.sin(now.phi) * Math.sin(now.theta),
      centre.y - reach * Math.sin(now.phi) * Math.cos(now.theta),
      centre.z + reach * Math.cos(now.phi),
    );
    camera.near = Math.max(reach - radius * 2, reach / 1000);
    camera.far = reach + radius * 4;
    camera.updateProjectionMatrix();
    camera.lookAt(centre);
    // The light comes from over the looker's shoulder, so that no side is ever black.
    sun.position.copy(camera.position).add(new Vector3(radius, -radius, radius * 2));
    sun.target.position.copy(centre);
    sun.target.updateMatrixWorld();
    renderer.render(scene, camera);
  };

  const wake = () => {
    if (!frame) frame = requestAnimationFrame(step);
  };

  const step = (time) => {
    frame = 0;
    if (goal) {
      const share = Math.min((time - goal.since) / MOVE_MS, 1);
      const eased = 1 - (1 - share) ** 3;
      for (const name of ["theta", "phi", "distance"]) {
        now[name] = goal.from[name] + (goal.to[name] - goal.from[name]) * eased;
      }
      if (share < 1) wake();
      else goal = null;
    }
    draw();
  };

  const held = (to) => ({
    theta: to.theta,
    phi: Math.min(Math.max(to.phi, 0.02), Math.PI - 0.02),
    distance: Math.min(Math.max(to.distance, NEAREST), FARTHEST),
  });

  // At once while a finger moves it and for people who want no motion; else on a short way.
  const go = (to, isDirect) => {
    if (isDirect || calm.matches) {
      goal = null;
      now = held(to);
    } else {
      goal = { from: { ...now }, to: held(to), since: performance.now() };
    }
    wake();
  };
  const aim = () => (goal ? goal.to : now);

  const colour = (name) => new Color(getComputedStyle(canvas).getPropertyValue(name).trim() || "#888888");
  const paint = () => {
    for (const body of bodies) {
      const its = colour(body.isOld ? "--viewer-old" : "--viewer-part");
      body.mesh.material.color.copy(its);
      body.lines.material.color.copy(colour("--viewer-line"));
    }
    wake();
  };

  const frameAll = () => {
    const box = new Box3();
    for (const body of bodies) box.union(body.mesh.geometry.boundingBox);
    box.getCenter(centre);
    radius = Math.max(box.getBoundingSphere(new Sphere()).radius, 0.001);
  };

  const size = () => {
    const { clientWidth, clientHeight } = canvas;
    if (!clientWidth || !clientHeight) return;
    renderer.setSize(clientWidth, clientHeight, false);
    camera.aspect = clientWidth / clientHeight;
    wake();
  };

  const pointers = new Map();
  let spread = 0;
  const apart = () => {
    const [one, other] = [...pointers.values()];
    return Math.hypot(one.x - other.x, one.y - other.y);
  };
  const listeners = {
    pointerdown: (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (pointers.size === 2) spread = apart();
    },
    pointermove: (event) => {
      const last = pointers.get(event.pointerId);
      if (!last) return;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (pointers.size === 2) {
        const wide = apart();
        if (wide && spread) go({ ...now, distance: (now.distance * spread) / wide }, true);
        spread = wide;
      } else if (pointers.size === 1) {
        const turn = (Math.PI * 1.2) / Math.max(canvas.clientHeight, 1);
        const { theta, phi } = now;
        go({ ...now, theta: theta - (event.clientX - last.x) * turn, phi: phi - (event.clientY - last.y) * turn }, true);
      }
    },
    pointerup: (event) => pointers.delete(event.pointerId),
    pointercancel: (event) => pointers.delete(event.pointerId),
    // Only where somebody has gone into the picture: the page must stay scrollable over it.
    wheel: (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      go({ ...now, distance: now.distance * Math.exp(event.deltaY * 0.001) }, true);
    },
    webglcontextlost: (event) => {
      event.preventDefault();
      onLost?.();
    },
  };
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener, { passive: false });
  const resizing = new ResizeObserver(size);
  resizing.observe(canvas);
  const theme = new MutationObserver(paint);
  theme.observe(document.documentElement, { attributes: true });
  dark.addEventListener("change", paint);

  return {
    add(bytes, { isOld = false } = {}) {
      const geometry = read(bytes);
      const material = new MeshStandardMaterial({
        roughness: 0.75, metalness: 0.05, side: isOld ? FrontSide : DoubleSide, transparent: isOld,
        // The old one shows through the new one, also where it lies inside it.
        opacity: isOld ? 0.4 : 1, depthWrite: !isOld, depthTest: !isOld,
      });
      const mesh = new Mesh(geometry, material);
      mesh.renderOrder = isOld ? 1 : 0;
      const isFine = geometry.attributes.position.count / 3 > MOST_EDGES;
      const edges = isFine ? new BufferGeometry() : new EdgesGeometry(geometry, 25);
      const lines = new LineSegments(edges, new LineBasicMaterial({ transparent: true, opacity: isOld ? 0.4 : 0.55 }));
      scene.add(mesh, lines);
      bodies.push({ mesh, lines, edges, wires: null, isOld });
      frameAll();
      size();
      paint();
      return geometry.attributes.position.count / 3;
    },
    turn(across, up) {
      const to = aim();
      go({ ...to, theta: to.theta + across, phi: to.phi + up });
    },
    zoom(factor) {
      const to = aim();
      go({ ...to, distance: to.distance * factor });
    },
    reset() {
      go({ ...START });
    },
    wireframe(isOn) {
      for (const body of bodies) {
        if (isOn && !body.wires) body.wires = new WireframeGeometry(body.mesh.geometry);
        body.mesh.visible = !isOn;
        body.lines.geometry = isOn ? body.wires : body.edges;
      }
      wake();
    },
    // Where the looker stands, for whoever wants to say or test it.
    where: () => ({ ...aim() }),
    close() {
      cancelAnimationFrame(frame);
      for (const [name, listener] of Object.entries(listeners)) canvas.removeEventListener(name, listener);
      resizing.disconnect();
      theme.disconnect();
      dark.removeEventListener("change", paint);
      for (const body of bodies) {
        for (const geometry of [body.mesh.geometry, body.edges, body.wires]) geometry?.dispose();
        body.mesh.material.dispose();
        body.lines.material.dispose();
      }
      renderer.dispose();
    },
  };
}

window.PortalViewer = { open };
