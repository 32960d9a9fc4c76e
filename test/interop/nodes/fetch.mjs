// fetch and nothing else, as an agent has it: prints {version, status, body} of a URL, or {version,
// failure}.
const print = (said) => console.log(JSON.stringify({ version: process.version, ...said }));
try {
  const answer = await fetch(process.argv[2]);
  print({ status: answer.status, body: await answer.text() });
} catch (failure) {
  const words = [];
  for (let at = failure; at !== undefined && at !== null; at = at.cause) words.push(at.message);
  print({ failure: words.join(': ') });
}
