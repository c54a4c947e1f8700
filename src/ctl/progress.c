/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/progress.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ctl/members.h"
#include "ctl/term.h"
#include "ctl/units.h"
#include "ctl/view.h"

#define BAR_MAX 64
#define PROGRESS_KEY_MAX 320
#define CPU_AFTER_MS 1000

static int append_safe(struct sonde_buf *out, const char *s)
{
	size_t len = strlen(s);

	return sonde_term_escape(s, len > 128 ? 128 : len, out);
}

/* Milliseconds since it began, 0 before. */
static int64_t elapsed_ms(const json_t *task, int64_t now_wall_ms)
{
	int64_t start, end;

	if (sonde_time_parse(sonde_text_of(task, "started"), &start) < 0)
		return 0;
	if (sonde_time_parse(sonde_text_of(task, "ended"), &end) < 0)
		end = now_wall_ms;
	return end > start ? end - start : 0;
}

/* "(shop/cart, 2 processes)" */
static int append_targets(const json_t *task, struct sonde_buf *out)
{
	const json_t *targets = json_object_get(task, "targets");
	size_t n = json_array_size(targets);
	int r;

	if (n == 0)
		return 0;
	r = sonde_buf_printf(out, " (");
	if (r == 0)
		r = append_safe(out, sonde_text_of(json_array_get(targets, 0), "name"));
	if (r == 0 && n > 1)
		r = sonde_buf_printf(out, ", %zu targets", n);
	return r < 0 ? r : sonde_buf_printf(out, ")");
}

static int append_bar(int64_t elapsed, int64_t duration, unsigned int width, struct sonde_buf *out)
{
	int64_t filled = duration > 0 ? elapsed * width / duration : 0;
	char bar[BAR_MAX + 1];

	if (width == 0)
		return 0;
	if (filled > width)
		filled = width;
	memset(bar, '.', width);
	memset(bar, '#', (size_t)filled);
	bar[width] = '\0';
	return sonde_buf_printf(out, " [%s]", bar);
}

int sonde_progress_line(const json_t *task, int64_t now_wall_ms, unsigned int bar,
			struct sonde_buf *ret)
{
	int64_t duration = json_integer_value(json_object_get(task, "duration_ms"));
	int64_t elapsed = elapsed_ms(task, now_wall_ms);
	char a[SONDE_UNIT_MAX], b[SONDE_UNIT_MAX], state[16] = "";
	int r;

	/* the bar's arithmetic must not overflow on a hostile number: a day is beyond any policy */
	if (duration < 0 || duration > 86400000)
		duration = 0;
	if (elapsed > 86400000)
		elapsed = 86400000;
	(void)snprintf(state, sizeof(state), "%s", sonde_text_of(task, "state"));
	for (char *p = state; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	r = sonde_buf_printf(ret, "Task ");
	if (r == 0)
		r = append_safe(ret, sonde_text_of(task, "id"));
	if (r == 0)
		r = append_targets(task, ret);
	if (r == 0)
		r = sonde_buf_printf(ret, "   ");
	if (r == 0)
		r = append_safe(ret, state);
	if (r == 0)
		r = sonde_buf_printf(ret, "  %s/%s", sonde_unit_clock(elapsed, a),
				     sonde_unit_clock(duration, b));
	return r < 0 ? r : append_bar(elapsed, duration, bar > BAR_MAX ? BAR_MAX : bar, ret);
}

static int append_traffic(const json_t *topology, struct sonde_buf *ret)
{
	struct sonde_view_totals sum;
	char a[SONDE_UNIT_MAX], b[SONDE_UNIT_MAX];
	double share;
	int r;

	sonde_view_sum(topology, &sum);
	share = sum.sent_segments > 0 ? 100.0 * (double)sum.retransmits / (double)sum.sent_segments
				      : 0;
	r = sonde_buf_printf(ret, "edges %zu", sum.edges);
	if (r == 0 && (!sum.sides || sum.with_bytes))
		r = sonde_buf_printf(
			ret, "  %s",
			sonde_unit_bytes((double)sum.sent_bytes + (double)sum.received_bytes, a));
	if (r == 0 && (!sum.sides || sum.with_retransmits))
		r = sonde_buf_printf(ret, "  retrans %s (%.1f%%)",
				     sonde_unit_count(sum.retransmits, b), share);
	if (r == 0 && (!sum.sides || sum.with_drops))
		r = sonde_buf_printf(ret, "  drops %" PRIi64, sum.drops);
	return r;
}

static int append_loss(const json_t *ledger, struct sonde_buf *ret)
{
	int64_t lost = sonde_view_lost(ledger);
	char a[SONDE_UNIT_MAX];

	if (lost < 0)
		return sonde_buf_printf(ret, "   reports missing");
	return sonde_buf_printf(ret, "   %s lost", sonde_unit_count(lost, a));
}

/* It moves from the first moment on: how long the step has taken. */
static int append_before(const json_t *task, int64_t now_wall_ms, struct sonde_buf *ret)
{
	const bool taken = strcmp(sonde_text_of(task, "state"), "accepted") != 0;
	const json_t *states = json_object_get(task, "states"), *last;
	size_t n = json_array_size(states);
	int64_t since;
	int r;

	last = n > 0 ? json_array_get(states, n - 1) : NULL;
	r = sonde_buf_printf(ret, "waiting for the agent to %s", taken ? "attach" : "take it");
	if (r < 0 || sonde_time_parse(sonde_text_of(last, "at"), &since) < 0 || now_wall_ms < since)
		return r;
	return sonde_buf_printf(ret, ", %.1f s", (double)(now_wall_ms - since) / 1000);
}

/* What is waited for, as long as there is no number to show. False: there is. */
static bool append_wait(const json_t *task, int64_t now_wall_ms, struct sonde_buf *ret, int *ret_r)
{
	const json_t *reports = json_object_get(task, "reports");
	int64_t start_ms, interval_ms;
	char clock[SONDE_UNIT_MAX];

	interval_ms = json_integer_value(json_object_get(task, "report_interval_ms"));
	if (sonde_view_starts_at(task, &start_ms)) {
		int64_t left_ms = start_ms > now_wall_ms ? start_ms - now_wall_ms : 0;

		*ret_r = sonde_buf_printf(ret, "waiting for its start, in %s",
					  sonde_unit_clock(left_ms, clock));
	} else if (elapsed_ms(task, now_wall_ms) == 0) {
		*ret_r = append_before(task, now_wall_ms, ret);
	} else if (json_integer_value(json_object_get(reports, "received")) > 0) {
		return false;
	} else if (interval_ms >= 60000) {
		*ret_r = sonde_buf_printf(ret, "waiting for the first report (%s)",
					  sonde_unit_clock(interval_ms, clock));
	} else {
		*ret_r = sonde_buf_printf(ret, "waiting for the first report (%.3g s)",
					  (double)interval_ms / 1000);
	}
	return true;
}

/* The mean since it began; what attaching took would be hundreds of percent of the first moments. */
static int append_cpu(const json_t *task, int64_t elapsed, struct sonde_buf *ret)
{
	const json_t *cost = json_object_get(task, "cost");
	const json_t *agent_ns = json_object_get(cost, "agent_cpu_ns");
	double ns = json_number_value(agent_ns) +
		    json_number_value(json_object_get(cost, "probe_cpu_ns"));

	if (!json_is_number(agent_ns) || elapsed < CPU_AFTER_MS)
		return 0;
	return sonde_buf_printf(ret, "   agent cpu %.1f%%", ns / ((double)elapsed * 1e4));
}

/* Its end waits for the last reports, which an agent that hangs does not send. */
static int append_silence(const json_t *task, struct sonde_buf *ret)
{
	int64_t silent_ms = sonde_view_silence_ms(task, json_object_get(task, "reports"));
	char text[SONDE_UNIT_MAX];

	if (silent_ms == 0)
		return 0;
	return sonde_buf_printf(ret, "   no report for %s", sonde_unit_clock(silent_ms, text));
}

int sonde_progress_numbers(const json_t *task, const json_t *topology, const json_t *ledger,
			   int64_t now_wall_ms, struct sonde_buf *ret)
{
	const int64_t elapsed = elapsed_ms(task, now_wall_ms);
	int r = 0;

	if (!append_wait(task, now_wall_ms, ret, &r) && topology)
		r = append_traffic(topology, ret);
	if (r == 0 && ledger &&
	    elapsed > 0) /* before it runs there is nothing that could be missing */
		r = append_loss(ledger, ret);
	if (r == 0)
		r = append_silence(task, ret);
	return r < 0 ? r : append_cpu(task, elapsed, ret);
}

static unsigned int columns(void)
{
	struct winsize size = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		return 80;
	return size.ws_col;
}

/* One line that cannot wrap: a wrapped one could not be drawn over. */
static void draw(struct sonde_progress *p, const char *line, enum sonde_style style)
{
	size_t room = columns() - 1;
	bool cut = sonde_term_width(line) > room;

	(void)fprintf(p->cli->err, "\r\033[K%s%.*s%s%s\n",
		      p->cli->err_color ? sonde_style_start(style) : "",
		      (int)sonde_term_fit(line, cut ? room - 1 : room), line, cut ? "…" : "",
		      p->cli->err_color ? SONDE_STYLE_END : "");
}

/* The longest bar that leaves room for the words behind it. */
static int first_line(struct sonde_progress *p, const json_t *task, int64_t now_wall_ms,
		      struct sonde_buf *ret)
{
	static const unsigned int bars[] = {24, 12, 0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTS_OF(bars); i++) {
		sonde_buf_reset(ret);
		r = sonde_progress_line(task, now_wall_ms, bars[i], ret);
		if (r == 0)
			r = sonde_buf_printf(ret, "  %s", p->ctrl_c);
		if (r == 0 && sonde_term_width(sonde_buf_str(ret)) < columns())
			break;
	}
	return r;
}

static void show_terminal(struct sonde_progress *p, const json_t *task, const json_t *topology,
			  const json_t *ledger, int64_t now_wall_ms)
{
	_cleanup_buf_ struct sonde_buf first = SONDE_BUF_INIT(4096), second = SONDE_BUF_INIT(4096);

	if (first_line(p, task, now_wall_ms, &first) < 0 ||
	    sonde_progress_numbers(task, topology, ledger, now_wall_ms, &second) < 0)
		return; /* out of memory: the next look may do better */
	sonde_progress_clear(p);
	draw(p, sonde_buf_str(&first), sonde_view_state_style(sonde_text_of(task, "state")));
	draw(p, sonde_buf_str(&second), SONDE_STYLE_NONE);
	(void)fflush(p->cli->err);
	p->drawn = true;
}

/* Not told yet? A row may come in before others: what is told late stands where its time is. */
static bool is_new(struct sonde_progress *p, const json_t *row)
{
	char key[PROGRESS_KEY_MAX];

	(void)snprintf(key, sizeof(key), "%.32s %.16s %.256s", sonde_text_of(row, "at"),
		       sonde_text_of(row, "state"), sonde_text_of(row, "words"));
	if (!p->told)
		p->told = json_object();
	if (json_object_get(p->told, key))
		return false;
	/* a cut key may be no UTF-8; one that cannot be noted is told twice */
	(void)json_object_set_new_nocheck(p->told, key, json_true());
	return true;
}

static void show_lines(struct sonde_progress *p, const json_t *task)
{
	const json_t *states = json_object_get(task, "states");

	for (size_t i = 0; i < json_array_size(states); i++) {
		const json_t *row = json_array_get(states, i);
		const char *words = sonde_text_of(row, "words");

		if (is_new(p, row))
			sonde_cli_note(p->cli, "%s task %s %s%s%s", sonde_text_of(row, "at"),
				       sonde_text_of(task, "id"), sonde_text_of(row, "state"),
				       *words ? ": " : "", words);
	}
}

void sonde_progress_show(struct sonde_progress *p, const json_t *task, const json_t *topology,
			 const json_t *ledger, int64_t now_wall_ms)
{
	if (p->cli->quiet)
		return;
	if (p->cli->err_tty)
		show_terminal(p, task, topology, ledger, now_wall_ms);
	else
		show_lines(p, task);
}

void sonde_progress_clear(struct sonde_progress *p)
{
	if (!p->drawn)
		return;
	(void)fprintf(p->cli->err, "\033[2A\r\033[J");
	(void)fflush(p->cli->err);
	p->drawn = false;
}

void sonde_progress_done(struct sonde_progress *p)
{
	json_decref(p->told);
	p->told = NULL;
}
