/* SPDX-License-Identifier: Apache-2.0 */
/* An entity as the sink sees it: its names as text. */
#include <errno.h>

#include "mal/entity.h"
#include "mal/eval.h"

static int show_properties(struct mal_eval *ev, struct mal_arena *arena,
			   const struct mal_entity *in, struct sonde_mal_entity *out)
{
	struct sonde_mal_label *v;

	if (in->properties->n == 0)
		return 0;
	v = mal_arena_array(arena, in->properties->n, sizeof(*v));
	if (!v)
		return mal_eval_no_memory(ev);
	for (size_t i = 0; i < in->properties->n; i++) {
		v[i] = (struct sonde_mal_label){
			mal_strings_text(ev->strings, in->properties->v[i].key),
			mal_strings_text(ev->strings, in->properties->v[i].value)};
	}
	out->properties = v;
	out->n_properties = in->properties->n;
	return 0;
}

static void show_names(const struct mal_eval *ev, const struct mal_entity *in,
		       struct sonde_mal_entity *out)
{
	const struct mal_strings *s = ev->strings;

	*out = (struct sonde_mal_entity){
		.scope = in->scope,
		.side = in->side,
		.component = in->component,
		.service = mal_strings_text(s, in->service),
		.instance = mal_strings_text(s, in->instance),
		.endpoint = mal_strings_text(s, in->endpoint),
		.process = mal_strings_text(s, in->process),
		.source_service = mal_strings_text(s, in->source_service),
		.source_instance = mal_strings_text(s, in->source_instance),
		.source_process = mal_strings_text(s, in->source_process),
		.dest_service = mal_strings_text(s, in->dest_service),
		.dest_instance = mal_strings_text(s, in->dest_instance),
		.dest_process = mal_strings_text(s, in->dest_process),
		.layer = mal_strings_text(s, in->layer),
	};
	for (size_t i = 0; i < ELEMENTS_OF(out->attributes); i++)
		if (in->attributes[i] != MAL_STR_NULL)
			out->attributes[i] = mal_strings_text(s, in->attributes[i]);
}

int mal_entity_show(struct mal_eval *ev, struct mal_arena *arena, struct mal_entity *e)
{
	struct sonde_mal_entity *out = mal_arena_alloc(arena, sizeof(*out));
	int r;

	if (!out)
		return mal_eval_no_memory(ev);
	show_names(ev, e, out);
	r = show_properties(ev, arena, e, out);
	e->shown = out;
	return r;
}
