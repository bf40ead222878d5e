// Makes the upload form a place to drop files on, with progress. Without it the form is an ordinary one.
(() => {
  const AT_ONCE = 2;

  const row = (box, file) => {
    const item = document.createElement("li");
    item.className = "upload-item";
    const name = document.createElement("span");
    name.textContent = file.name;
    const state = document.createElement("span");
    state.className = "upload-state";
    state.textContent = box.dataset.textWaiting;
    const bar = document.createElement("progress");
    bar.max = 100;
    bar.value = 0;
    bar.setAttribute("aria-label", file.name);
    item.append(name, state, bar);
    box.querySelector(".upload-list").append(item);
    return {
      progress: (share) => {
        bar.value = Math.floor(share * 100);
        state.textContent = `${box.dataset.textSending} ${bar.value} %`;
      },
      done: () => {
        bar.value = 100;
        state.textContent = box.dataset.textDone;
      },
      wrong: (words) => {
        item.classList.add("is-wrong");
        // Beside its name it need not say the name again.
        state.textContent = words.replace(`${file.name}: `, "");
        state.setAttribute("role", "alert");
        bar.remove();
      },
    };
  };

  const answerOf = (request) => {
    try {
      return JSON.parse(request.responseText);
    } catch {
      return {};
    }
  };

  // Resolves with where the quote is, or null when nothing of the file was taken.
  const send = (box, file, shown) =>
    new Promise((resolve) => {
      if (file.size > Number(box.dataset.maxBytes)) {
        shown.wrong(box.dataset.textTooLarge);
        return resolve(null);
      }
      const form = new FormData();
      form.append("models", file, file.name);
      const request = new XMLHttpRequest();
      request.open("POST", box.dataset.upload);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRFToken", box.querySelector("input[name=csrf_token]").value);
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) shown.progress(event.loaded / event.total);
      });
      const fail = (words) => {
        shown.wrong(words || box.dataset.textFailed);
        resolve(null);
      };
      request.addEventListener("load", () => {
        const answer = answerOf(request);
        if (answer.upload_url) box.dataset.upload = answer.upload_url;
        if (answer.refused?.length) return fail(answer.refused.join(" "));
        if (request.status >= 400) return fail(request.status === 413 ? box.dataset.textTooLarge : answer.error?.message);
        shown.done();
        resolve(answer.url);
      });
      for (const kind of ["error", "abort", "timeout"]) request.addEventListener(kind, () => fail());
      request.send(form);
    });

  const show = (url) => {
    const quote = document.getElementById("quote");
    if (!quote || !window.htmx) return location.assign(url);
    // What could not be taken stays to be read.
    const wrong = [...document.querySelectorAll(".upload-item.is-wrong")];
    window.htmx.ajax("GET", url, { target: quote, swap: "outerHTML" }).then(() => {
      document.querySelector(".upload-list")?.append(...wrong);
    });
  };

  const upload = async (box, files) => {
    const waiting = [...files].map((file) => ({ file, shown: row(box, file) }));
    let url = null;
    const next = async () => {
      for (let one = waiting.shift(); one; one = waiting.shift()) url = (await send(box, one.file, one.shown)) || url;
    };
    // The first one goes alone: it may be what begins the quote that the others go into.
    const first = waiting.shift();
    if (!first) return;
    url = await send(box, first.file, first.shown);
    await Promise.all(Array.from({ length: AT_ONCE }, next));
    // Where something was refused on the first page, the reason is read before the page changes.
    const refused = box.querySelector(".upload-item.is-wrong");
    if (url && !(refused && !document.getElementById("quote"))) return show(url);
    if (url) {
      const link = document.createElement("a");
      link.className = "btn btn-primary";
      link.href = url;
      link.textContent = box.dataset.textContinue;
      box.append(link);
    }
  };

  document.addEventListener("change", (event) => {
    const box = event.target.closest?.("[data-upload]");
    if (!box || event.target.type !== "file" || !event.target.files.length) return;
    const files = [...event.target.files];
    event.target.value = "";
    upload(box, files);
  });

  const over = (event, is) => {
    const box = event.target.closest?.("[data-upload]");
    document.querySelectorAll("[data-upload].is-over").forEach((one) => one.classList.remove("is-over"));
    if (!box) return null;
    event.preventDefault();
    box.classList.toggle("is-over", is);
    return box;
  };
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => {
    const box = over(event, false);
    if (box && event.dataTransfer?.files.length) upload(box, event.dataTransfer.files);
  });
})();
