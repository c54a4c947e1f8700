/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events: what a stream's bytes mean, however they are cut. */
#include "sonde-test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/sse.h"

struct seen {
	struct sonde_buf text; /* "event/id/data;" of each */
	int stop_at;	       /* events until on_event() has enough; 0 = never */
};

static int on_event(void *ctx, const char *event, const char *id, const char *data, size_t len)
{
	struct seen *seen = ctx;

	assert_int_equal(strlen(data), len);
	assert_ok(sonde_buf_printf(&seen->text, "%s/%s/%s;", event, id, data));
	return seen->stop_at > 0 && --seen->stop_at == 0;
}

/* All at once, and byte by byte: the same. */
static void assert_events(const char *stream, const char *expected)
{
	for (size_t step = 1; step <= strlen(stream); step += strlen(stream) - 1) {
		struct seen seen = {.text = SONDE_BUF_INIT(4096)};
		struct sonde_sse s = SONDE_SSE_INIT(on_event, &seen);

		for (size_t i = 0; i < strlen(stream); i += step) {
			size_t left = strlen(stream) - i;

			assert_ok(sonde_sse_feed(&s, stream + i, left < step ? left : step));
		}
		assert_string_equal(sonde_buf_str(&seen.text), expected);
		sonde_buf_done(&seen.text);
		sonde_sse_done(&s);
	}
}

static void events_end_at_an_empty_line(void **state)
{
	assert_events("id: 1\nevent: task\ndata: {}\n\nid: 2\ndata: x\n\n",
		      "task/1/{};message/2/x;");
	assert_events("data: cut off\n", "");
	assert_events("event: none\n\ndata: y\n\n", "message//y;");
}

static void lines_may_end_in_three_ways(void **state)
{
	assert_events("data: a\r\ndata: b\r\n\r\ndata: c\r\rdata: d\n\n",
		      "message//a\nb;message//c;message//d;");
}

static void comments_and_other_fields_are_left_out(void **state)
{
	assert_events(": hello\nretry: 5\nunknown\ndata:x\ndata\n\n", "message//x\n;");
}

static void an_id_stays_until_another_comes(void **state)
{
	assert_events("id: 7\ndata: a\n\ndata: b\n\n", "message/7/a;message/7/b;");
}

static void an_id_that_is_too_long_is_not_half_an_id(void **state)
{
	char stream[1024], id[SONDE_SSE_ID_MAX + 1];

	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	assert_true(snprintf(stream, sizeof(stream), "id: 7\nid: %s\ndata: a\n\n", id) <
		    (int)sizeof(stream));
	assert_events(stream, "message/7/a;");
}

static void who_has_enough_ends_the_stream(void **state)
{
	struct seen seen = {.text = SONDE_BUF_INIT(4096), .stop_at = 1};
	struct sonde_sse s = SONDE_SSE_INIT(on_event, &seen);
	static const char two[] = "data: a\n\ndata: b\n\n";

	assert_int_equal(sonde_sse_feed(&s, two, strlen(two)), 1);
	assert_string_equal(sonde_buf_str(&seen.text), "message//a;");
	sonde_buf_done(&seen.text);
	sonde_sse_done(&s);
}

static void an_event_is_bounded(void **state)
{
	struct seen seen = {.text = SONDE_BUF_INIT(4096)};
	struct sonde_sse s = SONDE_SSE_INIT(on_event, &seen);
	static char line[1 << 16];
	int r = 0;

	memset(line, 'x', sizeof(line));
	assert_ok(sonde_sse_feed(&s, "data: ", 6));
	for (size_t n = 0; r == 0 && n <= SONDE_SSE_EVENT_MAX; n += sizeof(line))
		r = sonde_sse_feed(&s, line, sizeof(line));
	assert_int_equal(r, -EMSGSIZE);
	sonde_buf_done(&seen.text);
	sonde_sse_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_end_at_an_empty_line),
		cmocka_unit_test(lines_may_end_in_three_ways),
		cmocka_unit_test(comments_and_other_fields_are_left_out),
		cmocka_unit_test(an_id_stays_until_another_comes),
		cmocka_unit_test(an_id_that_is_too_long_is_not_half_an_id),
		cmocka_unit_test(who_has_enough_ends_the_stream),
		cmocka_unit_test(an_event_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
