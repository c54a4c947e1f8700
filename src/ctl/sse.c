/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/sse.h"

#include <stdio.h>
#include <string.h>

void sonde_sse_done(struct sonde_sse *s)
{
	sonde_buf_done(&s->line);
	sonde_buf_done(&s->data);
}

void sonde_sse_reset(struct sonde_sse *s)
{
	sonde_buf_reset(&s->line);
	sonde_buf_reset(&s->data);
	s->event[0] = '\0';
	s->cr = false;
}

/* An empty line ends an event; one without data is none. */
static int end_event(struct sonde_sse *s)
{
	int r = 0;

	if (s->data.len > 0) {
		s->data.data[--s->data.len] = '\0'; /* the last line end is not part of it */
		r = s->on_event(s->ctx, s->event[0] ? s->event : "message", s->id,
				sonde_buf_str(&s->data), s->data.len);
	}
	sonde_buf_reset(&s->data);
	s->event[0] = '\0';
	return r;
}

static int take_field(struct sonde_sse *s, const char *name, const char *value)
{
	int r;

	if (strcmp(name, "event") == 0) {
		(void)snprintf(s->event, sizeof(s->event), "%s", value);
	} else if (strcmp(name, "id") == 0) {
		/* one that does not fit would not be the server's when it comes back */
		if (strlen(value) < sizeof(s->id))
			(void)snprintf(s->id, sizeof(s->id), "%s", value);
	} else if (strcmp(name, "data") == 0) {
		r = sonde_buf_append(&s->data, value, strlen(value));
		return r < 0 ? r : sonde_buf_append(&s->data, "\n", 1);
	}
	return 0;
}

static int take_line(struct sonde_sse *s)
{
	char *line = s->line.data ? (char *)s->line.data : NULL, *value;

	if (!line || s->line.len == 0)
		return end_event(s);
	if (line[0] == ':')
		return 0;
	value = strchr(line, ':');
	if (!value)
		return take_field(s, line, "");
	*value++ = '\0';
	return take_field(s, line, *value == ' ' ? value + 1 : value);
}

int sonde_sse_feed(struct sonde_sse *s, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = 0;
		int r;

		if (s->cr && bytes[i] == '\n') { /* the second half of CR LF */
			s->cr = false;
			i++;
			continue;
		}
		s->cr = false;
		while (i + len < n && bytes[i + len] != '\n' && bytes[i + len] != '\r')
			len++;
		r = sonde_buf_append(&s->line, bytes + i, len);
		if (r < 0)
			return r;
		i += len;
		if (i == n)
			break;
		s->cr = bytes[i++] == '\r';
		r = take_line(s);
		sonde_buf_reset(&s->line);
		if (r != 0)
			return r;
	}
	return 0;
}
