/**
 * `node browse.mjs PROXY URL`: what Playwright, with Debian's Chromium, makes of a page. Prints
 * {status, text}, or {error} where nothing came.
 */
import { chromium } from 'playwright-core';

const [proxy, url] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  proxy: { server: proxy },
});
try {
  const page = await browser.newPage();
  const response = await page.goto(url);
  console.log(JSON.stringify({ status: response.status(), text: await response.text() }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message.split('\n')[0] }));
} finally {
  await browser.close();
}
