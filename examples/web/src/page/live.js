// Fetches the page again and again, and shows what it says, or since when it says nothing.
const late = document.getElementById("late");
let heard = new Date();

async function look() {
    try {
        const answer = await fetch("/", { signal: AbortSignal.timeout(5000) });
        if (!answer.ok) throw new Error(answer.status);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main"));
        heard = new Date();
        late.textContent = "";
    } catch (error) {
        late.textContent = `no news since ${heard.toLocaleTimeString()}`;
    }
    setTimeout(look, 500);
}

setTimeout(look, 500);
