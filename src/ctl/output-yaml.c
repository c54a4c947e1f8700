/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as YAML, by libyaml. Text that YAML would read as something else (yes, 1e3, ~, a time) is quoted; what is not ASCII
 * is escaped, so that nothing steers a terminal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/num.h"
#include "ctl/output.h"

static int on_write(void *ctx, unsigned char *data, size_t size)
{
	return fwrite(data, 1, size, ctx) == size;
}

/* libyaml frees the event, also when it fails. */
static int emit(yaml_emitter_t *e, yaml_event_t *event, int made)
{
	if (!made)
		return -ENOMEM;
	if (!yaml_emitter_emit(e, event))
		return e->error == YAML_MEMORY_ERROR ? -ENOMEM : -EIO;
	return 0;
}

/* YAML 1.1's words for true, false and null, and anything that begins like a number or a date. */
static bool needs_quotes(const char *text)
{
	static const char *const words[] = {"true", "false", "yes",  "no", "on", "off",
					    "y",    "n",     "null", "~",  "",	 "<<"};

	for (size_t i = 0; i < ELEMENTS_OF(words); i++) {
		if (strcasecmp(text, words[i]) == 0)
			return true;
	}
	return strchr("0123456789+-.=", text[0]) != NULL;
}

static int write_scalar(yaml_emitter_t *e, const char *text, bool quoted)
{
	yaml_event_t event;

	return emit(e, &event,
		    yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
						 (int)strlen(text), !quoted, 1,
						 quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
							: YAML_ANY_SCALAR_STYLE));
}

static int write_text(yaml_emitter_t *e, const char *text)
{
	return write_scalar(e, text, needs_quotes(text));
}

static int write_plain(yaml_emitter_t *e, const json_t *value)
{
	char *text;
	int r;

	if (json_is_string(value))
		return write_text(e, json_string_value(value));
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		return -ENOMEM;
	r = write_scalar(e, text, false);
	free(text);
	return r;
}

static int write_value(yaml_emitter_t *e, const json_t *value);

static int write_object(yaml_emitter_t *e, const json_t *value)
{
	json_t *member,
		*object = (json_t *)value; /* the loop's macro is not const-clean; it only reads */
	yaml_event_t event;
	const char *key;
	int r;

	r = emit(e, &event,
		 yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
						     YAML_BLOCK_MAPPING_STYLE));
	json_object_foreach(object, key, member)
	{
		if (r == 0)
			r = write_text(e, key);
		if (r == 0)
			r = write_value(e, member);
	}
	return r < 0 ? r : emit(e, &event, yaml_mapping_end_event_initialize(&event));
}

static int write_array(yaml_emitter_t *e, const json_t *value)
{
	yaml_event_t event;
	int r;

	r = emit(e, &event,
		 yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
						      YAML_BLOCK_SEQUENCE_STYLE));
	for (size_t i = 0; r == 0 && i < json_array_size(value); i++)
		r = write_value(e, json_array_get(value, i));
	return r < 0 ? r : emit(e, &event, yaml_sequence_end_event_initialize(&event));
}

/* As deep as the parser of answers lets JSON be. */
static int write_value(yaml_emitter_t *e, const json_t *value) /* NOLINT(misc-no-recursion) */
{
	if (json_is_object(value))
		return write_object(e, value);
	if (json_is_array(value))
		return write_array(e, value);
	return write_plain(e, value);
}

static int write_document(yaml_emitter_t *e, const json_t *value)
{
	yaml_event_t event;
	int r;

	r = emit(e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	if (r == 0)
		r = emit(e, &event,
			 yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	if (r == 0)
		r = write_value(e, value);
	if (r == 0)
		r = emit(e, &event, yaml_document_end_event_initialize(&event, 1));
	return r < 0 ? r : emit(e, &event, yaml_stream_end_event_initialize(&event));
}

int sonde_yaml_write(const json_t *value, FILE *out)
{
	yaml_emitter_t e;
	int r;

	if (!yaml_emitter_initialize(&e))
		return -ENOMEM;
	yaml_emitter_set_output(&e, on_write, out);
	yaml_emitter_set_unicode(&e, 0);
	yaml_emitter_set_width(&e, -1); /* a line is never folded */
	r = write_document(&e, value);
	yaml_emitter_delete(&e);
	return r;
}
