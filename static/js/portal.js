// Progressive enhancement only: every page works without this file.
(() => {
  const text = (name) => document.body.dataset[`text${name}`] || "";
  const on = (type, selector, handler) =>
    document.addEventListener(type, (event) => {
      const element = event.target.closest?.(selector);
      if (element) handler(element, event);
    });

  // --- Toasts -------------------------------------------------------------------------------------
  const AUTOHIDE_MS = 6000;

  const leave = (toast) => {
    toast.classList.add("is-leaving");
    setTimeout(() => toast.remove(), 200);
  };

  // A message stays while the pointer or the focus is on it: nobody reads to a deadline.
  const watch = (toast) => {
    toast.dataset.watched = "";
    if (!("autohide" in toast.dataset)) return;
    let timer = setTimeout(() => leave(toast), AUTOHIDE_MS);
    const hold = () => clearTimeout(timer);
    const release = () => { timer = setTimeout(() => leave(toast), AUTOHIDE_MS / 2); };
    toast.addEventListener("pointerenter", hold);
    toast.addEventListener("focusin", hold);
    toast.addEventListener("pointerleave", release);
    toast.addEventListener("focusout", release);
  };
  const watchAll = () => document.querySelectorAll(".toast-item:not([data-watched])").forEach(watch);

  const say = (message) => {
    const region = document.getElementById("flashes");
    if (!region || !message) return;
    const toast = document.createElement("div");
    toast.className = "toast-item tone-danger";
    const words = document.createElement("p");
    words.className = "toast-text";
    words.textContent = message;
    const close = document.createElement("button");
    close.className = "btn-icon btn-icon-close";
    close.type = "button";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", text("Close"));
    toast.append(words, close);
    region.append(toast);
    watch(toast);
  };
  on("click", "[data-dismiss]", (button) => leave(button.closest(".toast-item")));

  // --- Drawers: <dialog> brings the focus trap, Escape and the return of the focus ----------------------
  let pressed = null;
  const openDrawer = (dialog) => {
    if (dialog.open) return;
    dialog.showModal();
    // What lies outside an open dialog is inert and dimmed: messages move in with it.
    dialog.append(document.getElementById("flashes"));
    dialog.querySelector(".drawer-body")?.scrollTo(0, 0);
  };
  on("click", "[data-close]", (button) => button.closest("dialog")?.close());
  on("click", "dialog.drawer", (dialog, event) => {
    // The backdrop belongs to the dialog: a click on it has the dialog itself as its target.
    if (event.target === dialog) dialog.close();
  });
  on("click", "[data-open]", (button, event) => {
    const dialog = document.getElementById(button.dataset.open);
    if (!dialog) return;
    event.preventDefault();
    openDrawer(dialog);
  });
  document.addEventListener("close", (event) => {
    const dialog = event.target;
    if (!dialog.matches?.("dialog.drawer")) return;
    document.body.append(document.getElementById("flashes"));
    // A button that was switched off while it worked has lost the focus, so the dialog could not give it back: it is
    // nowhere, or still in the dialog until the page is painted without it.
    const focused = document.activeElement;
    if ((focused === document.body || dialog.contains(focused)) && pressed?.isConnected) pressed.focus();
    pressed = null;
    if (!("changed" in dialog.dataset)) return;
    // Something was done in the panel: the list behind it shows the past until it is asked again.
    delete dialog.dataset.changed;
    const list = document.querySelector("[data-refresh]");
    if (list) window.htmx?.ajax("GET", location.pathname + location.search, { target: list, swap: "outerHTML" });
  }, true);

  // --- Menus -----------------------------------------------------------------------------------------
  const closeMenus = (except) =>
    document.querySelectorAll("details.menu[open]").forEach((menu) => menu !== except && (menu.open = false));
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.("details.menu[open]");
    closeMenus();
    menu?.querySelector("summary").focus();
  });

  // --- Small controls ----------------------------------------------------------------------------------
  on("click", "[data-reveal]", (button) => {
    const input = document.getElementById(button.dataset.reveal);
    const show = input.type === "password";
    input.type = show ? "text" : "password";
    button.setAttribute("aria-pressed", String(show));
  });

  on("click", "[data-copy]", async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      return say(text("Error"));
    }
    button.classList.add("is-on");
    const label = button.getAttribute("aria-label");
    button.setAttribute("aria-label", text("Copied"));
    setTimeout(() => {
      button.classList.remove("is-on");
      button.setAttribute("aria-label", label);
    }, 2000);
  });

  on("change", "form[data-autosubmit]", (form) => form.requestSubmit());

  // --- Forms: one submit, and a sign that it is being worked on -----------------------------------------
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.matches("[hx-post]")) return;
    if ("sent" in form.dataset) return event.preventDefault();
    // After the other listeners: one of them may still stop this submit.
    setTimeout(() => {
      if (event.defaultPrevented) return;
      form.dataset.sent = "";
      form.setAttribute("aria-busy", "true");
    });
  });
  // A page that comes back from the browser's memory must be usable again.
  addEventListener("pageshow", () =>
    document.querySelectorAll("form[data-sent]").forEach((form) => {
      delete form.dataset.sent;
      form.removeAttribute("aria-busy");
    }));

  // --- htmx ---------------------------------------------------------------------------------------------
  let pending = 0;
  const busy = (change) => {
    pending = Math.max(0, pending + change);
    document.documentElement.classList.toggle("is-loading", pending > 0);
  };
  document.addEventListener("htmx:beforeSend", () => busy(1));
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.closest?.("dialog")) return;
    pressed = event.detail.requestConfig.triggeringEvent?.submitter ?? document.activeElement;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    busy(-1);
    const dialog = event.target.closest?.("dialog.drawer");
    if (dialog && event.detail.successful && event.detail.requestConfig.verb !== "get") dialog.dataset.changed = "";
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const dialog = event.target.closest?.("dialog.drawer");
    if (dialog) openDrawer(dialog);
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    watchAll();
    event.target.querySelector?.("[data-focus]")?.focus();
  });
  document.addEventListener("htmx:responseError", (event) =>
    say(text(event.detail.xhr.status === 413 ? "TooLarge" : "Error")));
  document.addEventListener("htmx:sendError", () => say(text("Offline")));
  document.addEventListener("htmx:timeout", () => say(text("Offline")));

  // A navigation that scrolls sideways must show where we are.
  const showCurrent = () =>
    document.querySelectorAll(".account-nav, .tabs").forEach((bar) => {
      const here = bar.querySelector("[aria-current]");
      if (here) bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.clientWidth) / 2;
    });

  const start = () => {
    watchAll();
    showCurrent();
    document.querySelector("[data-focus]")?.focus();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
