/* SPDX-License-Identifier: Apache-2.0 */
/* What sonde reads that others wrote, or that a person typed: a stream of events, a template, a config file to be edited. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ctl/config-edit.h"
#include "ctl/jsonpath.h"
#include "ctl/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_event(void *ctx, const char *event, const char *id, const char *data, size_t len)
{
	if (strlen(data) != len || strlen(id) >= SONDE_SSE_ID_MAX)
		abort();
	return 0;
}

static void stream(const char *text, size_t size)
{
	struct sonde_sse s = SONDE_SSE_INIT(on_event, NULL);
	size_t half = size / 2;

	if (!memchr(text, '\0', size) && sonde_sse_feed(&s, text, half) == 0 &&
	    sonde_sse_feed(&s, text + half, size - half) > 0)
		abort(); /* on_event() never has enough */
	sonde_sse_done(&s);
}

/* What was checked can be evaluated. */
static void template(const char *text)
{
	static const char json[] = "{\"a\":[{\"b\":\"x\"},{\"b\":[1,2.5,null]}],\"c d\":{}}";
	json_auto_t *root = json_loads(json, 0, NULL);
	struct sonde_buf out = SONDE_BUF_INIT(1 << 20);
	char *words = NULL;
	int r = sonde_jsonpath_check(text, &words);

	if (r == 0 && root) {
		r = sonde_jsonpath_eval(text, root, "a", &out);
		if (r == -EINVAL)
			abort();
	}
	free(words);
	sonde_buf_done(&out);
}

/* What was written can be read, and written again. */
static void edit(const char *text)
{
	char *once = NULL, *twice = NULL, *error = NULL;

	if (sonde_config_edit(text, "contexts.n.server", "x: y", &once, &error) == 0) {
		int r = sonde_config_edit(once, "contexts.n.server", "z", &twice, &error);

		if (r == 0 && !twice)
			abort();
	}
	free(once);
	free(twice);
	free(error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	stream((const char *)data, size);
	template(text);
	edit(text);
	free(text);
	return 0;
}
