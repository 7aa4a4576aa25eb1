// One touch signs what is on this page. The challenge is computed here, from the very text that is shown: a statement that was
// swapped on its way has another challenge, and the server, the log and every auditor refuse the signature.
"use strict";
const encoder = new TextEncoder();
const join = (...parts) => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
};
const string = (value) => { // RFC 4251: length, bytes
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return join(length, bytes);
};
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const shown = document.getElementById("statement").textContent;
const status = document.getElementById("status");
sha256(encoder.encode(shown)).then((digest) => { document.getElementById("fingerprint").textContent = "sha256:" + hex(digest); });

const form = document.getElementById("touch");
if (form && window.PublicKeyCredential) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      // OpenSSH PROTOCOL.sshsig: what ssh-keygen -Y verify will look for.
      const challenge = join(encoder.encode("SSHSIG"), string(form.dataset.namespace), string(""), string("sha256"), string(await sha256(encoder.encode(shown))));
      const answer = await navigator.credentials.get({ publicKey: { challenge, rpId: form.dataset.rp, userVerification: "required", timeout: 120000 } });
      form.elements.assertion.value = JSON.stringify(answer.toJSON());
      form.submit();
    } catch (error) {
      button.disabled = false;
      status.className = "problem";
      status.textContent = form.dataset.failed + " (" + error.name + ")";
      status.focus();
    }
  });
}
