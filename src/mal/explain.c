/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/explain.h"

#include <stdlib.h>
#include <string.h>

/* From the name of a call to its closing parenthesis. The text has been parsed: quotes and parentheses match. */
static size_t call_length(const char *s)
{
	size_t i = strcspn(s, "("), depth = 0;
	char quote = 0;

	for (; s[i]; i++) {
		if (quote) {
			if (s[i] == '\\' && s[i + 1])
				i++;
			else if (s[i] == quote)
				quote = 0;
		} else if (s[i] == '\'' || s[i] == '"') {
			quote = s[i];
		} else if (s[i] == '(') {
			depth++;
		} else if (s[i] == ')' && --depth == 0) {
			return i + 1;
		}
	}
	return i;
}

/* Labels of all samples, one behind the other. NULL: no memory, which costs an explanation and no more. */
static struct sonde_mal_label *copy_labels(const struct mal_eval *ev, const struct mal_family *f,
					   struct sonde_mal_sample *samples)
{
	struct sonde_mal_label *labels;
	size_t n = 0, at = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->v[i].labels->n;
	labels = calloc(n + 1, sizeof(*labels));
	for (size_t i = 0; labels && i < f->n; i++) {
		const struct mal_set *set = f->v[i].labels;

		samples[i] = (struct sonde_mal_sample){
			.name = mal_strings_text(ev->strings, f->v[i].name),
			.labels = labels + at,
			.n_labels = set->n,
			.value = f->v[i].value,
			.ts_ms = f->v[i].ts_ms,
		};
		for (uint32_t k = 0; k < set->n; k++)
			labels[at++] = (struct sonde_mal_label){
				mal_strings_text(ev->strings, set->v[k].key),
				mal_strings_text(ev->strings, set->v[k].value)};
	}
	return labels;
}

static void tell(const struct mal_eval *ev, const struct mal_explain *x, const char *text,
		 size_t len, const struct mal_family *f)
{
	_cleanup_free_ struct sonde_mal_sample *samples = calloc(f->n + 1, sizeof(*samples));
	_cleanup_free_ struct sonde_mal_label *labels = NULL;
	struct sonde_mal_step step = {.rule = x->rule,
				      .part = x->part,
				      .text = text,
				      .len = len,
				      .samples = samples,
				      .n_samples = f->n,
				      .n_entities = f->n_groups};

	if (samples)
		labels = copy_labels(ev, f, samples);
	if (labels)
		x->sink->step(x->sink->ctx, &step);
}

void mal_explain_named(const struct mal_eval *ev, const struct mal_explain *x, const char *name,
		       const struct mal_family *f)
{
	tell(ev, x, name, strlen(name), f);
}

void mal_explain_expr(const struct mal_eval *ev, const struct mal_explain *x,
		      const struct mal_expr *e, const struct mal_family *f)
{
	const char *text = x->text + e->offset;

	switch (e->kind) {
	case MAL_EXPR_NEGATE:
	case MAL_EXPR_BINARY:
		tell(ev, x, text, 1, f);
		return;
	case MAL_EXPR_CALL:
		tell(ev, x, text, call_length(text), f);
		return;
	default:
		return;
	}
}
