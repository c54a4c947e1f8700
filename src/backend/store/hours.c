/* SPDX-License-Identifier: Apache-2.0 */
/* Of migration 6: an older server kept minutes; hours are made of them as accumulators combine, in order of time. */
#include <errno.h>

#include "backend/store/schema.h"
#include "mal/function.h"

#define MINUTE 6 /* in units of 10 s */
#define HOUR 360
#define STEP_HOUR 2 /* see store.h */

struct hour {
	int64_t id, start, serial, minutes;
	struct sonde_mal_accumulator *acc; /* NULL: none has begun */
};

static int put_hour(sqlite3_stmt *put, struct hour *h)
{
	_cleanup_buf_ struct sonde_buf bytes = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	int rc, r;

	if (!h->acc)
		return 0;
	r = sonde_mal_accumulator_store(h->acc, &bytes);
	h->acc = sonde_mal_accumulator_free(h->acc);
	if (r == -EMSGSIZE) /* so it would not be stored by the server either */
		return 0;
	if (r < 0)
		return r;
	rc = sqlite3_bind_int64(put, 1, STEP_HOUR);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(put, 2, h->start);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(put, 3, h->id);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(put, 4, h->serial);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(put, 5, h->minutes);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(put, 6, bytes.data, (int)bytes.len, SQLITE_TRANSIENT);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(put);
	(void)sqlite3_reset(put);
	return sonde_store_errno(rc);
}

static int add_minute(struct hour *h, sqlite3_stmt *put, sqlite3_stmt *get)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *minute = NULL;
	int64_t id = sqlite3_column_int64(get, 0), start = sqlite3_column_int64(get, 1);
	int64_t serial = sqlite3_column_int64(get, 2);
	const void *data = sqlite3_column_blob(get, 3);
	int r = 0;

	if (h->acc && (h->id != id || h->start != start - start % HOUR))
		r = put_hour(put, h);
	if (r < 0)
		return r;
	r = sonde_mal_accumulator_load(data, (size_t)sqlite3_column_bytes(get, 3), &minute);
	if (r < 0)
		return r == -EBADMSG ? 0 : r; /* damaged: the server would pass it over too */
	if (!h->acc) {
		*h = (struct hour){.id = id, .start = start - start % HOUR};
		r = sonde_mal_accumulator_new(sonde_mal_accumulator_function(minute), &h->acc);
	}
	if (r == 0)
		r = sonde_mal_accumulator_combine(h->acc, minute);
	if (r == -EINVAL || r == -E2BIG)
		return 0;
	h->serial = serial > h->serial ? serial : h->serial;
	h->minutes |= 1LL << (start % HOUR / MINUTE);
	return r;
}

int sonde_store_make_hours(sqlite3 *db)
{
	sqlite3_stmt *get = NULL, *put = NULL;
	struct hour h = {0};
	int rc, r;

	rc = sqlite3_prepare_v2(db,
				"SELECT series, start, serial, data FROM bucket WHERE step = 1 "
				"ORDER BY series, start",
				-1, &get, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, "INSERT INTO bucket VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
					-1, &put, NULL);
	r = sonde_store_errno(rc);
	while (r == 0 && (rc = sqlite3_step(get)) == SQLITE_ROW)
		r = add_minute(&h, put, get);
	if (r == 0)
		r = sonde_store_errno(rc);
	if (r == 0)
		r = put_hour(put, &h);
	(void)sonde_mal_accumulator_free(h.acc);
	(void)sqlite3_finalize(get);
	(void)sqlite3_finalize(put);
	return r;
}
