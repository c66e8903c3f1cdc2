// The login page: exchanges a viewer's token for a cookie that scripts cannot read.

const $ = (id) => document.getElementById(id);
const session = (method, body) => fetch("api/v1/session", {
  method, body: body && JSON.stringify(body), headers: body ? { "content-type": "application/json" } : {},
});

function tell(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text ?? "";
}

async function show() {
  const { needed, viewer } = await (await session("GET")).json();
  $("login").hidden = !needed || viewer !== null;
  $("inside").hidden = !$("login").hidden;
  $("who").textContent = needed ? `Logged in as ${viewer}.` : "No token is needed here.";
  $("logout").hidden = !needed;
  if (!$("login").hidden) $("token").focus();
}

const guarded = (action) => async (event) => {
  event?.preventDefault();
  tell(null);
  try {
    await action();
  } catch {
    tell("The service does not answer. Try again.");
  }
};

$("login").addEventListener("submit", guarded(async () => {
  const response = await session("POST", { token: $("token").value });
  $("token").value = "";
  if (response.ok) location.assign("./");
  else tell((await response.json()).error);
}));

$("logout").addEventListener("click", guarded(async () => {
  await session("DELETE");
  await show();
}));

guarded(show)();
