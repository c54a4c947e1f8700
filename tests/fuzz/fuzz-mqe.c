/* SPDX-License-Identifier: Apache-2.0 */
/* An expression over metrics with no, one and many lines. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backend/oap/mqe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many lines as the name has bytes. */
static int metric(void *ctx, const char *name, struct mqe_value *ret)
{
	size_t n = strlen(name);

	if (name[0] == 'x')
		return -ENOENT;
	for (size_t i = 1; i < n; i++) {
		struct mqe_series *s;
		int r = mqe_value_add(ret,
				      json_pack("[{s:s, s:s}, {s:s, s:s%}]", "key", "a", "value",
						"b", "key", "n", "value", name, i),
				      &s);

		if (r < 0)
			return r;
		s->points[i % ret->n_points] = (double)i;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mqe_source source = {.metric = metric, .n_points = 3};
	char *text = strndup((const char *)data, size);
	struct mqe_value v = {0};
	char words[160];

	if (text && mqe_evaluate(&source, text, &v, words) == 0)
		mqe_value_done(&v);
	free(text);
	return 0;
}
