// Adds a search to the table of formats. Without JavaScript, the whole table is shown.
(() => {
  const table = document.getElementById("formats-table");
  const rows = [...table.tBodies[0].rows];
  const form = document.createElement("form");
  form.className = "formats-search";
  form.setAttribute("role", "search");
  form.innerHTML = `
    <label>Search the formats
      <input type="search" name="q" autocomplete="off" spellcheck="false" placeholder="Nikon, .tif, miniscope, ...">
    </label>
    <fieldset>
      <legend class="visually-hidden">Show</legend>
      <label><input type="radio" name="kind" value="" checked> all</label>
      <label><input type="radio" name="kind" value="imaging"> movies</label>
      <label><input type="radio" name="kind" value="segmentation"> ROIs</label>
    </fieldset>
    <output aria-live="polite"></output>`;
  table.before(form);

  const show = () => {
    const words = form.q.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const kind = form.kind.value;
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.words;
      row.hidden = !(words.every((word) => text.includes(word)) && (!kind || row.dataset.kind === kind));
      shown += row.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = shown
      ? `${shown} of ${rows.length} formats`
      : "No format matches. Many microscopes also export TIFF, OME-TIFF or HDF5.";
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.q.value = new URLSearchParams(location.search).get("q") ?? "";
  show();
})();
