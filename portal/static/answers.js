// What one thinks of each statement is kept on this device, by account, until it is signed. Without this script it is kept once it is drafted.
"use strict";
for (const form of document.querySelectorAll("form[data-answers]")) {
  const place = "answers:" + form.dataset.answers;
  let kept = Outbox.read(place, null);
  if (kept && kept.sequence !== form.dataset.sequence) { // of a ballot that is signed
    Outbox.drop(place);
    kept = null;
  }
  for (const [name, value] of Object.entries((kept && kept.answers) || {})) {
    const field = form.elements[name];
    if (/^answer-\d+$/.test(name) && field) field.value = value;
  }
  form.addEventListener("change", (event) => {
    const answers = {};
    for (const [name, value] of new FormData(form)) if (name.startsWith("answer-")) answers[name] = value;
    Outbox.tell(form, Outbox.set(place, JSON.stringify({ sequence: form.dataset.sequence, answers })), event.target.closest("fieldset") || event.target);
  });
}
