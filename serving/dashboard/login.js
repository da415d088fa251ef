// The login form: shows an API key once, and gets a session that scripts cannot read.

const form = document.getElementById("login");
const refusal = document.getElementById("refusal");

async function reason(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the service answered ${answer.status}; try again`;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  refusal.hidden = true;
  let message;
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key: form.elements.key.value }),
    });
    if (answer.ok) {
      location.reload();
      return;
    }
    message = await reason(answer);
  } catch {
    message = "the service does not answer; check that it runs, then try again";
  }
  refusal.textContent = message;
  refusal.hidden = false;
  form.elements.key.select();
});
