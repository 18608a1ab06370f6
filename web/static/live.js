// Puts requests into the log's table as the server tells of them. Rows come as
// the server escaped them.
(() => {
	"use strict";
	const button = document.getElementById("pause");
	const rows = document.getElementById("requests");
	const state = document.getElementById("live-state");
	if (!button || !rows || !state) return;

	const most = 200; // rows, and what waits while it is paused
	let waiting = [], fresh = 0, paused = false, ended = false;

	const show = (html) => {
		const parsed = document.createElement("template");
		parsed.innerHTML = html;
		const row = parsed.content.firstElementChild;
		const before = document.getElementById(row.id);
		if (before) {
			before.replaceWith(row); // it has ended
		} else {
			rows.prepend(row);
			fresh++;
		}
		while (rows.children.length > most) rows.lastElementChild.remove();
		document.getElementById("none")?.remove();
	};

	const source = new EventSource(button.value);
	source.onopen = () => { if (!paused) state.textContent = "Live."; };
	source.onerror = () => {
		if (source.readyState === EventSource.CLOSED) end();
		else if (!paused) state.textContent = "The connection is lost. Trying again.";
	};
	source.addEventListener("request", (e) => {
		if (!paused) return show(e.data);
		waiting.push(e.data);
		if (waiting.length > most) waiting.shift();
	});
	source.addEventListener("end", () => end());

	// What is new is said at most once in five seconds.
	const telling = setInterval(() => {
		if (paused && waiting.length > 0) state.textContent = `Paused. ${waiting.length} waiting.`;
		else if (!paused && fresh > 0) state.textContent = `Live. ${fresh} new.`;
		fresh = 0;
	}, 5000);

	const end = () => {
		if (ended) return;
		ended = true;
		source.close();
		clearInterval(telling);
		button.hidden = true;
		waiting.forEach(show);
		state.textContent = "This page is no longer live. Load it anew to go on.";
	};

	// A page that is kept for the Back button would keep its stream.
	addEventListener("pagehide", () => source.close());
	addEventListener("pageshow", (e) => { if (e.persisted && !ended) location.reload(); });

	button.hidden = false;
	button.addEventListener("click", () => {
		paused = !paused;
		button.textContent = paused ? "Resume" : "Pause";
		if (!paused) waiting.splice(0).forEach(show);
		state.textContent = paused ? "Paused." : "Live.";
	});
})();
