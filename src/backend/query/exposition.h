/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Exposition: metrics as Prometheus reads them: its text format 0.0.4, or OpenMetrics 1.0. Families are written one
 * after the other, each whole. The first error (no memory, too long) sticks: what follows is left out, and
 * sonde_exposition_finish() tells. Label values and help may be any bytes. Not shared between threads.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SONDE_EXPOSITION_LABELS_MAX 32
#define SONDE_EXPOSITION_NAME_MAX 128

enum sonde_exposition_type {
	SONDE_EXPOSITION_COUNTER = 0,
	SONDE_EXPOSITION_GAUGE,
	SONDE_EXPOSITION_HISTOGRAM,
	_SONDE_EXPOSITION_TYPE_MAX,
};

struct sonde_exposition {
	struct sonde_buf out;
	bool openmetrics;
	int error;				/* the first one, or 0 */
	char family[SONDE_EXPOSITION_NAME_MAX]; /* without a counter's `_total` */
	enum sonde_exposition_type type;
	size_t samples;
};

struct sonde_exposition_labels {
	struct {
		char name[SONDE_EXPOSITION_NAME_MAX];
		const char *value; /* borrowed */
	} label[SONDE_EXPOSITION_LABELS_MAX];
	size_t n;
};

/*
 * @accept: the header, NULL = anything; @otherwise: what is given to who takes both alike.
 * Return: 0, -EOPNOTSUPP (neither is taken).
 */
int sonde_exposition_negotiate(const char *accept, bool otherwise,
			       bool *ret_openmetrics) _must_check_;
const char *sonde_exposition_content_type(bool openmetrics);

void sonde_exposition_init(struct sonde_exposition *e, bool openmetrics, size_t max_bytes);
void sonde_exposition_done(struct sonde_exposition *e);
#define _cleanup_exposition_ _cleanup_(sonde_exposition_done)

/* Begins a family. @name: letters that are none of a metric's become '_'. @unit, @help: NULL = none. */
void sonde_exposition_family(struct sonde_exposition *e, const char *name,
			     enum sonde_exposition_type type, const char *unit, const char *help);

/*
 * Adds one; the name is made one of Prometheus', and different from those before: `exported_` is put before it.
 * Return: 0, -ENOSPC (too many), -EEXIST (even so it is there already).
 */
int sonde_exposition_label(struct sonde_exposition_labels *l, const char *name,
			   const char *value) _must_check_;

/* `{a="b",c="d"}`, "" for none, appended to @out. Return: 0, -EMSGSIZE, -ENOMEM. */
int sonde_exposition_render(const struct sonde_exposition_labels *l,
			    struct sonde_buf *out) _must_check_;

/* One sample of the family. @labels: as rendered, or NULL; @suffix: "" or "_count" and the like; a counter's is put by itself. */
void sonde_exposition_int(struct sonde_exposition *e, const char *suffix, const char *labels,
			  int64_t value);
void sonde_exposition_seconds(struct sonde_exposition *e, const char *suffix, const char *labels,
			      uint64_t ns);
/* A bucket: `le` behind the other labels. @le: "+Inf" or a number. */
void sonde_exposition_bucket(struct sonde_exposition *e, const char *labels, const char *le,
			     uint64_t count);

/* Writes the end. *@ret: the text, to be freed. Return: 0, -errno. */
int sonde_exposition_finish(struct sonde_exposition *e, char **ret) _must_check_;
