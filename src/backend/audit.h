/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Audit: who changed what, and who was refused: a line of the log each, and a row of the database. Of the rows the last
 * ones stay: SONDE_AUDIT_ROWS_MAX of changes, as many of refusals and as many of what policies started: none of them can
 * push another out. Refusals
 * are asked for by anyone: past a rate they are counted alone. No row holds a secret: a token is told by its name.
 * Loop thread only.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/http/access.h"
#include "backend/store/store.h"
#include "base/cleanup.h"

#define SONDE_AUDIT_ROWS_MAX 10000
#define SONDE_AUDIT_PAGE_MAX 1000

struct sonde_audit;

struct sonde_audit_entry {
	const struct sonde_identity *identity;
	const char *address; /* of the client; "" = there is none */
	const char *action;  /* "task.create" */
	const char *subject; /* a task's id; "" */
	int status;	     /* HTTP's; 0: the client went before its answer */
	const char *words;   /* why it was refused, or started; "" */
	bool by_policy;	     /* nobody asked for it by HTTP */
};

struct sonde_audit_stats {
	uint64_t entries, refusals;  /* noted; entries: what policies started too */
	uint64_t refusals_uncounted; /* past the rate: neither in the log nor in the database */
	uint64_t unwritten;	     /* in the log, but not in the database */
};

/* @store: borrowed. Return: 0, -ENOMEM. */
int sonde_audit_new(struct sonde_store *store, struct sonde_audit **ret) _must_check_;
struct sonde_audit *sonde_audit_free(struct sonde_audit *a);
SONDE_DEFINE_CLEANUP(struct sonde_audit *, sonde_audit_free)

void sonde_audit_note(struct sonde_audit *a, const struct sonde_audit_entry *e);
void sonde_audit_get_stats(const struct sonde_audit *a, struct sonde_audit_stats *ret);

struct sonde_audit_filter {
	int64_t before;		    /* serial; INT64_MAX for the newest */
	int64_t since_ms, until_ms; /* until 0 = none */
	uint64_t limit;
};
/* {"entries", "next"}, the newest first. New reference. Return: 0, -ENOMEM, -errno of the database. */
int sonde_audit_list(struct sonde_audit *a, const struct sonde_audit_filter *filter,
		     json_t **ret) _must_check_;
