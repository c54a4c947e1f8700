/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One expression over a batch, and its samples as text. */

#include "mal/check.h"
#include "mal/eval.h"
#include "mal/parser.h"

#include "mal-test.h"

struct test_eval {
	struct mal_program program;
	struct mal_eval ev;
	struct mal_window *window;
	struct sonde_mal_batch *batch;
	struct sonde_buf out;
};

static inline void test_eval_init(struct test_eval *t)
{
	*t = (struct test_eval){.out = SONDE_BUF_INIT(TEST_TEXT_BYTES)};
	assert_ok(mal_eval_init(&t->ev));
	assert_ok(mal_window_new(&t->window));
	assert_ok(sonde_mal_batch_new(&t->batch));
	t->ev.window = t->window;
	t->ev.cut_names = true;
	t->ev.need_address = true;
}

static inline void test_eval_done(struct test_eval *t)
{
	mal_program_done(&t->program);
	mal_eval_done(&t->ev);
	mal_window_free(t->window);
	sonde_mal_batch_free(t->batch);
	sonde_buf_done(&t->out);
}

/* "{a=x,b=1}:10 {a=y}:5", in the order of the family; "EMPTY"; "error: …". Borrowed until the next call. */
static inline const char *test_eval(struct test_eval *t, const char *text)
{
	struct mal_error error = {0};
	struct mal_family f;
	struct mal_expr *e;
	int r;

	mal_program_done(&t->program);
	sonde_buf_reset(&t->out);
	assert_ok(mal_program_init(&t->program));
	r = mal_parse_expr(&t->program, MAL_TEXT_EXP, text, strlen(text), &error, &e);
	if (r == 0)
		r = mal_check_text(&t->program, e, &error);
	if (r < 0) {
		assert_ok(sonde_buf_printf(&t->out, "refused: %s", error.message));
		return sonde_buf_str(&t->out);
	}
	assert_ok(mal_eval_begin(&t->ev, t->batch, &t->program));
	r = mal_eval_expr(&t->ev, e, &f);
	if (r < 0)
		assert_ok(sonde_buf_printf(&t->out, "error: %s", t->ev.message));
	else if (f.n == 0)
		assert_ok(sonde_buf_printf(&t->out, "EMPTY"));
	for (size_t i = 0; r == 0 && i < f.n; i++) {
		assert_ok(sonde_buf_printf(&t->out, "%s{", i ? " " : ""));
		for (uint32_t k = 0; k < f.v[i].labels->n; k++)
			assert_ok(sonde_buf_printf(
				&t->out, "%s%s=%s", k ? "," : "",
				mal_strings_text(t->ev.strings, f.v[i].labels->v[k].key),
				mal_strings_text(t->ev.strings, f.v[i].labels->v[k].value)));
		assert_ok(sonde_buf_printf(&t->out, "}:%.10g", f.v[i].value));
	}
	return sonde_buf_str(&t->out);
}
