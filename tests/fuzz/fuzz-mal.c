/* SPDX-License-Identifier: Apache-2.0 */
/* Text of an expression: parsed, checked, and where it is good evaluated over a small batch. */
#include <stdint.h>
#include <stdlib.h>

#include "mal/check.h"
#include "mal/eval.h"
#include "mal/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int add(struct sonde_mal_batch *b, const char *name, const char *a, const char *le,
	       double value)
{
	const struct sonde_mal_label labels[] = {
		{"a", a}, {"b", ""}, {"le", le}, {"service", "s"}, {"host", "h:80"}};
	const struct sonde_mal_sample s = {name, labels, 5, value, 1700000000000};

	return sonde_mal_batch_add(b, &s);
}

static int evaluate(struct mal_program *p, const struct mal_expr *e)
{
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	_cleanup_(mal_window_freep) struct mal_window *w = NULL;
	_cleanup_(mal_eval_done) struct mal_eval ev = {0};
	struct mal_family f;
	int r;

	r = sonde_mal_batch_new(&b);
	if (r == 0)
		r = mal_window_new(&w);
	if (r == 0)
		r = mal_eval_init(&ev);
	if (r == 0)
		r = add(b, "m", "x", "0.5", 1);
	if (r == 0)
		r = add(b, "m", "y", "Infinity", -2.5);
	if (r == 0)
		r = add(b, "n", "x", "0.5", 0);
	if (r == 0)
		r = mal_eval_begin(&ev, b, p);
	if (r < 0)
		return r;
	ev.window = w;
	ev.cut_names = true;
	return mal_eval_expr(&ev, e, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(mal_program_done) struct mal_program p = {0};
	struct mal_checked checked;
	struct mal_error error;
	struct mal_closure *filter;
	struct mal_expr *e;
	int r;

	if (mal_program_init(&p) < 0)
		return 0;
	(void)!mal_parse_filter(&p, (const char *)data, size, &error, &filter);
	r = mal_parse_expr(&p, size % 3 == 0 ? MAL_TEXT_CHAIN : MAL_TEXT_EXP, (const char *)data,
			   size, &error, &e);
	if (r < 0 || mal_check_text(&p, e, &error) < 0)
		return 0;
	(void)!mal_check_rule(&p, e, NULL, NULL, &error, &checked);
	(void)evaluate(&p, e);
	return 0;
}
