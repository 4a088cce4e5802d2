"use strict";
(async () => {
  const say = (text) => { document.getElementById("say").textContent = text; };
  const query = new URLSearchParams(location.search);
  const here = location.pathname;
  const redirectUri = location.origin + here;
  history.replaceState(null, "", here);
  if (query.get("error")) {
    say("The sign-in was refused: " + query.get("error"));
    return;
  }
  const body = JSON.stringify({ code: query.get("code"), state: query.get("state"), redirectUri });
  const headers = { "content-type": "application/json" };
  try {
    const answer = await fetch(here, { method: "POST", headers, body, credentials: "same-origin" });
    const told = await answer.json();
    say(answer.ok ? "Signed in as " + told.connection.name + ". You can close this page."
                  : "The sign-in failed: " + told.error.message);
  } catch (error) {
    say("The gateway did not answer: " + error.message);
  }
})();
