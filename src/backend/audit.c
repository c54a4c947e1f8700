/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pace.h"

#define REFUSALS_BURST 50
#define REFUSALS_PER_S 1
#define TRIM_EVERY 100 /* rows */

/* What the column `refused` holds. */
enum kind {
	CHANGE = 0,
	REFUSAL = 1,
	BY_POLICY = 2,
	_KIND_MAX
};

struct sonde_audit {
	struct sonde_store *store;
	uint64_t rows[_KIND_MAX]; /* noted, of each kind */
	struct sonde_pace refusals;
	struct sonde_audit_stats stats;
};

int sonde_audit_new(struct sonde_store *store, struct sonde_audit **ret)
{
	struct sonde_audit *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->store = store;
	a->refusals = sonde_pace_of(REFUSALS_BURST, REFUSALS_PER_S);
	*ret = a;
	return 0;
}

struct sonde_audit *sonde_audit_free(struct sonde_audit *a)
{
	free(a);
	return NULL;
}

void sonde_audit_get_stats(const struct sonde_audit *a, struct sonde_audit_stats *ret)
{
	*ret = a->stats;
}

static void on_written(void *ctx, int error)
{
	struct sonde_audit *a = ctx;

	a->stats.unwritten += error < 0;
}

static int write_row(struct sonde_audit *a, const struct sonde_audit_entry *e, enum kind kind)
{
	_cleanup_(sonde_store_job_freep) struct sonde_store_job *job = sonde_store_job_new();
	int r;

	if (!job)
		return -ENOMEM;
	r = sonde_store_job_add(job, SONDE_STORE_PUT_AUDIT,
				"iittttt"
				"it",
				sonde_wall_ms(), (int64_t)kind, e->identity->who,
				sonde_role_name[e->identity->role], e->address, e->action,
				e->subject, (int64_t)e->status, e->words);
	/* At the first one too: who starts often must not keep more. */
	if (r == 0 && a->rows[kind] % TRIM_EVERY == 1)
		r = sonde_store_job_add(job, SONDE_STORE_TRIM_AUDIT, "ii", (int64_t)kind,
					(int64_t)SONDE_AUDIT_ROWS_MAX);
	return r < 0 ? r : sonde_store_submit(a->store, &job, on_written, a);
}

void sonde_audit_note(struct sonde_audit *a, const struct sonde_audit_entry *e)
{
	bool refused = e->status == 401 || e->status == 403;
	enum kind kind = refused ? REFUSAL : e->by_policy ? BY_POLICY : CHANGE;
	uint64_t now_ns = sonde_mono_ns();

	if (refused && sonde_pace_wait_ns(&a->refusals, now_ns) > 0) {
		a->stats.refusals_uncounted++;
		return;
	}
	if (refused) {
		sonde_pace_take(&a->refusals, now_ns);
		a->stats.refusals++;
	} else {
		a->stats.entries++;
	}
	a->rows[kind]++;
	(void)sonde_log_full(refused ? SONDE_LOG_WARNING : SONDE_LOG_INFO, 0,
			     "audit: %s (%s)%s%s: %s%s%s: %d%s%s",
			     e->identity->who[0] ? e->identity->who : "somebody",
			     sonde_role_name[e->identity->role], e->address[0] ? " of " : "",
			     e->address, e->action, e->subject[0] ? " " : "", e->subject, e->status,
			     e->words[0] ? " " : "", e->words);
	if (write_row(a, e, kind) < 0)
		a->stats.unwritten++;
}

struct listing {
	json_t *rows;
	uint64_t limit;
	int64_t last;
	bool more;
};

static int on_row(void *ctx, const struct sonde_store_row *row)
{
	struct listing *l = ctx;

	if (json_array_size(l->rows) == l->limit) {
		l->more = true;
		return 1;
	}
	l->last = sonde_store_row_int(row, 0);
	return sonde_json_append(l->rows,
				 json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "id",
					   (json_int_t)l->last, "at",
					   sonde_json_time(sonde_store_row_int(row, 1)), "who",
					   sonde_json_text(sonde_store_row_text(row, 2)), "role",
					   sonde_json_text(sonde_store_row_text(row, 3)), "address",
					   sonde_json_text(sonde_store_row_text(row, 4)), "action",
					   sonde_json_text(sonde_store_row_text(row, 5)), "subject",
					   sonde_json_text(sonde_store_row_text(row, 6)), "status",
					   (json_int_t)sonde_store_row_int(row, 7), "words",
					   sonde_json_text(sonde_store_row_text(row, 8))));
}

int sonde_audit_list(struct sonde_audit *a, const struct sonde_audit_filter *f, json_t **ret)
{
	_cleanup_json_ json_t *rows = json_array();
	struct listing l = {.rows = rows, .limit = f->limit};
	char next[24];
	int r;

	if (!rows)
		return -ENOMEM;
	r = sonde_store_select(a->store, SONDE_STORE_GET_AUDIT, on_row, &l, "iiii", f->before,
			       f->since_ms, f->until_ms > 0 ? f->until_ms : INT64_MAX,
			       (int64_t)f->limit + 1);
	if (r < 0)
		return r;
	(void)snprintf(next, sizeof(next), "%" PRId64, l.last);
	*ret = json_pack("{s:O, s:s?}", "entries", rows, "next", l.more ? next : NULL);
	return *ret ? 0 : -ENOMEM;
}
