// Makes a passkey that belongs to this site's domain, and hands its public half in.
"use strict";
const form = document.getElementById("make");
const status = document.getElementById("status");
if (window.PublicKeyCredential && PublicKeyCredential.parseCreationOptionsFromJSON) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(form.dataset.options));
      const made = await navigator.credentials.create({ publicKey });
      form.elements.credential.value = JSON.stringify(made.toJSON());
      form.submit();
    } catch (error) {
      button.disabled = false;
      status.className = "problem";
      status.textContent = form.dataset.failed + " (" + error.name + ")";
      status.focus();
    }
  });
}
