/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/function.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "mal/percentile.h"

/* A key of "" or "{}", as most are, takes no memory. */
static const char no_key[] = "";
static const char no_labels[] = "{}";

struct entry {
	char *key; /* owned, but for the two constants */
	int64_t bucket, sum, count;
};

struct sonde_mal_accumulator {
	struct sonde_mal_function function;
	struct entry *v; /* owned; by key, then bucket */
	size_t n;
};

bool sonde_mal_function_exists(const struct sonde_mal_function *f)
{
	assert(f);

	if (f->kind == SONDE_MAL_HISTOGRAM || f->kind == SONDE_MAL_HISTOGRAM_PERCENTILE)
		return f->downsampling == SONDE_MAL_AVG || f->downsampling == SONDE_MAL_SUM;
	return true;
}

void sonde_mal_function_name(const struct sonde_mal_function *f, char buf[static 48])
{
	static const char *const names[] = {"avg", "sum", "latest", "sumPerMin", "max", "min"};
	static const char *const suffixes[] = {"", "Labeled", "Histogram", "HistogramPercentile"};

	_Static_assert(ELEMENTS_OF(names) == _SONDE_MAL_DOWNSAMPLING_MAX,
		       "every downsampling needs its name");
	_Static_assert(ELEMENTS_OF(suffixes) == _SONDE_MAL_KIND_MAX, "every kind needs its name");
	(void)snprintf(buf, 48, "%s%s", names[f->downsampling], suffixes[f->kind]);
}

static bool is_histogram(const struct sonde_mal_function *f)
{
	return f->kind == SONDE_MAL_HISTOGRAM || f->kind == SONDE_MAL_HISTOGRAM_PERCENTILE;
}

int sonde_mal_accumulator_new(const struct sonde_mal_function *f,
			      struct sonde_mal_accumulator **ret)
{
	struct sonde_mal_accumulator *a;

	assert(f && ret);

	if (!sonde_mal_function_exists(f) || f->n_ranks > SONDE_MAL_RANKS_MAX)
		return -EOPNOTSUPP;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->function = *f;
	*ret = a;
	return 0;
}

static char *copy_key(const char *key)
{
	if (strcmp(key, no_key) == 0)
		return (char *)no_key;
	if (strcmp(key, no_labels) == 0)
		return (char *)no_labels;
	return strdup(key);
}

static void free_key(char *key)
{
	if (key != no_key && key != no_labels)
		free(key);
}

struct sonde_mal_accumulator *sonde_mal_accumulator_free(struct sonde_mal_accumulator *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->n; i++)
		free_key(a->v[i].key);
	free(a->v);
	free(a);
	return NULL;
}

const struct sonde_mal_function *sonde_mal_accumulator_function(
	const struct sonde_mal_accumulator *a)
{
	return &a->function;
}

/* --- taking values --- */

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = strcmp(x->key, y->key);

	if (c != 0)
		return c;
	return x->bucket < y->bucket ? -1 : x->bucket > y->bucket;
}

/* @later arrived after @e. */
static void join(const struct sonde_mal_function *f, struct entry *e, const struct entry *later)
{
	e->count = sonde_add_i64(e->count, later->count);
	switch (f->downsampling) {
	case SONDE_MAL_LATEST:
		e->sum = later->sum;
		e->count = later->count;
		break;
	case SONDE_MAL_MAX:
		e->sum = later->sum > e->sum ? later->sum : e->sum;
		break;
	case SONDE_MAL_MIN:
		e->sum = later->sum < e->sum ? later->sum : e->sum;
		break;
	default:
		e->sum = sonde_add_i64(e->sum, later->sum);
		break;
	}
}

static size_t count_new(const struct sonde_mal_accumulator *a, const struct entry *v, size_t n)
{
	size_t fresh = 0, i = 0;

	for (size_t j = 0; j < n; j++) {
		while (i < a->n && by_key(&a->v[i], &v[j]) < 0)
			i++;
		fresh += i == a->n || by_key(&a->v[i], &v[j]) != 0;
	}
	return fresh;
}

/* Joins @v, sorted and each key once, whose keys are borrowed. All or nothing. */
static int merge(struct sonde_mal_accumulator *a, const struct entry *v, size_t n)
{
	size_t fresh = count_new(a, v, n), k = 0, made = 0;
	_cleanup_free_ struct entry *out = NULL;
	_cleanup_free_ char **keys = NULL;

	if (a->n + fresh > SONDE_MAL_KEYS_MAX)
		return -E2BIG;
	out = calloc(a->n + fresh + 1, sizeof(*out));
	keys = calloc(fresh + 1, sizeof(*keys));
	if (!out || !keys)
		return -ENOMEM;
	for (size_t i = 0, j = 0; i < a->n || j < n;) {
		int c = i == a->n ? 1 : j == n ? -1 : by_key(&a->v[i], &v[j]);

		if (c <= 0) {
			out[k] = a->v[i++];
			if (c == 0)
				join(&a->function, &out[k], &v[j++]);
			k++;
			continue;
		}
		keys[made] = copy_key(v[j].key);
		if (!keys[made]) {
			while (made > 0)
				free_key(keys[--made]);
			return -ENOMEM;
		}
		out[k] = v[j++];
		out[k++].key = keys[made++];
	}
	free(a->v);
	a->v = TAKE_PTR(out);
	a->n = k;
	return 0;
}

/* latestLabeled keeps no key that the newest table lacks. */
static void drop_all(struct sonde_mal_accumulator *a)
{
	for (size_t i = 0; i < a->n; i++)
		free_key(a->v[i].key);
	a->n = 0;
}

static bool replaces(const struct sonde_mal_function *f)
{
	return f->downsampling == SONDE_MAL_LATEST && f->kind == SONDE_MAL_LABELED;
}

int sonde_mal_accumulator_accept(struct sonde_mal_accumulator *a,
				 const struct sonde_mal_point *points, size_t n)
{
	_cleanup_free_ struct entry *v = NULL;
	size_t k = 0;

	assert(a && (points || n == 0));

	if (n == 0)
		return 0;
	if (n > SONDE_MAL_KEYS_MAX)
		return -E2BIG;
	if (a->function.kind == SONDE_MAL_SINGLE && n > 1)
		return -EINVAL;
	v = calloc(n, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		v[i] = (struct entry){(char *)points[i].key, points[i].bucket, points[i].value, 1};
		if (a->function.kind == SONDE_MAL_HISTOGRAM) /* which knows buckets only */
			v[i].key = (char *)no_labels;
	}
	qsort(v, n, sizeof(*v), by_key);
	for (size_t i = 1; i < n; i++) {
		if (by_key(&v[k], &v[i]) != 0)
			v[++k] = v[i];
		else if (is_histogram(&a->function))
			join(&a->function, &v[k], &v[i]);
		else
			v[k] = v[i];
	}
	if (replaces(&a->function))
		drop_all(a);
	return merge(a, v, k + 1);
}

static bool same_function(const struct sonde_mal_function *a, const struct sonde_mal_function *b)
{
	return a->downsampling == b->downsampling && a->kind == b->kind &&
	       a->n_ranks == b->n_ranks &&
	       memcmp(a->ranks, b->ranks, a->n_ranks * sizeof(*a->ranks)) == 0;
}

int sonde_mal_accumulator_combine(struct sonde_mal_accumulator *a,
				  const struct sonde_mal_accumulator *later)
{
	assert(a && later && a != later);

	if (!same_function(&a->function, &later->function))
		return -EINVAL;
	if (later->n == 0)
		return 0;
	if (replaces(&a->function))
		drop_all(a);
	return merge(a, later->v, later->n);
}

/* --- giving numbers --- */

static int64_t mean(const struct entry *e)
{
	int64_t v = e->count > 0 ? e->sum / e->count : 0;

	return v == 0 && e->sum > 0 ? 1 : v;
}

static int64_t value_of(const struct sonde_mal_function *f, const struct entry *e, uint32_t minutes)
{
	switch (f->downsampling) {
	case SONDE_MAL_AVG:
		return mean(e);
	case SONDE_MAL_SUM_PER_MIN:
		return e->sum / (int64_t)(minutes ? minutes : 1);
	default:
		return e->sum;
	}
}

/* "{}" and 99 make "{p=99}". */
static int rank_key(const char *key, int32_t rank, struct sonde_buf *out)
{
	size_t len = strlen(key);
	bool empty = len <= 2;

	sonde_buf_reset(out);
	return sonde_buf_printf(out, "%.*s%sp=%d}", empty ? 0 : (int)(len < INT_MAX ? len - 1 : 0),
				key, empty ? "{" : ",", rank);
}

/* Entries [first, end) are the buckets of one label group, ascending. */
static int percentiles(const struct sonde_mal_accumulator *a, size_t first, size_t end,
		       sonde_mal_result_fn fn, void *ctx)
{
	_cleanup_free_ struct sonde_mal_bin *buckets = calloc(end - first, sizeof(*buckets));
	_cleanup_buf_ struct sonde_buf key = SONDE_BUF_INIT(SONDE_MAL_STORED_BYTES);
	int64_t values[SONDE_MAL_RANKS_MAX];
	size_t n;
	int r = 0;

	if (!buckets)
		return -ENOMEM;
	for (size_t i = first; i < end; i++)
		buckets[i - first] =
			(struct sonde_mal_bin){a->v[i].bucket, value_of(&a->function, &a->v[i], 1)};
	n = sonde_mal_percentiles(buckets, end - first, a->function.ranks, a->function.n_ranks,
				  values);
	for (size_t i = 0; i < n && r >= 0; i++) {
		struct sonde_mal_result result = {.rank = a->function.ranks[i], .value = values[i]};

		result.nearest = sonde_mal_nearest_rank(buckets, end - first, result.rank);

		r = rank_key(a->v[first].key, result.rank, &key);
		if (r < 0)
			return r;
		result.key = sonde_buf_str(&key);
		r = fn(ctx, &result);
	}
	return r < 0 ? r : 0;
}

int sonde_mal_accumulator_value(const struct sonde_mal_accumulator *a, uint32_t minutes,
				sonde_mal_result_fn fn, void *ctx)
{
	int r = 0;

	assert(a && fn);

	for (size_t i = 0, end; i < a->n && r >= 0; i = end) {
		const struct entry *e = &a->v[i];
		struct sonde_mal_result result = {e->key, e->bucket, 0,
						  value_of(&a->function, e, minutes)};

		end = i + 1;
		if (a->function.kind != SONDE_MAL_HISTOGRAM_PERCENTILE) {
			r = fn(ctx, &result);
			continue;
		}
		while (end < a->n && strcmp(a->v[end].key, e->key) == 0)
			end++;
		r = percentiles(a, i, end, fn, ctx);
	}
	return r < 0 ? r : 0;
}

int sonde_mal_accumulator_totals(const struct sonde_mal_accumulator *a, sonde_mal_total_fn fn,
				 void *ctx)
{
	int r = 0;

	assert(a && fn);

	for (size_t i = 0; i < a->n && r >= 0; i++) {
		struct sonde_mal_total t = {a->v[i].key, a->v[i].bucket, a->v[i].sum,
					    a->v[i].count};

		r = fn(ctx, &t);
	}
	return r < 0 ? r : 0;
}

/* --- bytes --- */

#define STORED_FIXED 1 /* what older servers wrote: whole numbers of 4 and 8 bytes */
/* Numbers of 7 bits a byte; a key that is the last one's is not repeated, and bounds are differences then. */
#define STORED_VERSION 2

static int put_varint(struct sonde_buf *out, uint64_t v)
{
	uint8_t b[10];
	size_t n = 0;

	do {
		b[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v > 0);
	return sonde_buf_append(out, b, n);
}

/* Small numbers of either sign are short. */
static int put_signed(struct sonde_buf *out, int64_t v)
{
	return put_varint(out, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

static int put_function(struct sonde_buf *out, const struct sonde_mal_function *f)
{
	const uint8_t head[] = {STORED_VERSION, (uint8_t)f->downsampling, (uint8_t)f->kind,
				(uint8_t)f->n_ranks};
	int r = sonde_buf_append(out, head, sizeof(head));

	for (size_t i = 0; i < f->n_ranks && r >= 0; i++)
		r = put_signed(out, f->ranks[i]);
	return r;
}

static int put_entry(struct sonde_buf *out, const struct entry *e, const struct entry *last)
{
	bool same = last && strcmp(last->key, e->key) == 0;
	size_t len = strlen(e->key);
	int r = put_varint(out, same ? 0 : len + 1);

	if (r >= 0 && !same)
		r = sonde_buf_append(out, e->key, len);
	if (r >= 0)
		r = put_signed(
			out, (int64_t)((uint64_t)e->bucket - (same ? (uint64_t)last->bucket : 0)));
	if (r >= 0)
		r = put_signed(out, e->sum);
	return r < 0 ? r : put_signed(out, e->count);
}

static int store(const struct sonde_mal_accumulator *a, struct sonde_buf *out)
{
	int r = put_function(out, &a->function);

	if (r >= 0)
		r = put_varint(out, a->n);
	for (size_t i = 0; i < a->n && r >= 0; i++)
		r = put_entry(out, &a->v[i], i > 0 ? &a->v[i - 1] : NULL);
	return r;
}

int sonde_mal_accumulator_store(const struct sonde_mal_accumulator *a, struct sonde_buf *out)
{
	size_t start = out->len;
	int r = store(a, out);

	if (r >= 0 && out->len - start > SONDE_MAL_STORED_BYTES)
		r = -EMSGSIZE;
	if (r < 0)
		out->len = start;
	return r;
}

struct reader {
	const uint8_t *p;
	size_t left;
};

static int get(struct reader *r, size_t bytes, uint64_t *ret)
{
	uint64_t v = 0;

	if (r->left < bytes)
		return -EBADMSG;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)r->p[i] << (8 * i);
	r->p += bytes;
	r->left -= bytes;
	*ret = v;
	return 0;
}

/* Only the shortest form is taken: what loads has one form. */
static int get_varint(struct reader *r, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; r->left > 0 && shift < 64; shift += 7) {
		uint8_t b = *r->p++;

		r->left--;
		if ((shift == 63 && b > 1) || (b == 0 && shift > 0))
			return -EBADMSG;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			*ret = v;
			return 0;
		}
	}
	return -EBADMSG;
}

static int get_signed(struct reader *r, int64_t *ret)
{
	uint64_t v;

	if (get_varint(r, &v) < 0)
		return -EBADMSG;
	*ret = (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
	return 0;
}

static int get_rank(struct reader *in, unsigned version, int32_t *ret)
{
	uint64_t fixed;
	int64_t rank;

	if (version == STORED_FIXED) {
		if (get(in, 4, &fixed) < 0)
			return -EBADMSG;
		*ret = (int32_t)fixed;
		return 0;
	}
	if (get_signed(in, &rank) < 0 || rank < INT32_MIN || rank > INT32_MAX)
		return -EBADMSG;
	*ret = (int32_t)rank;
	return 0;
}

static int get_function(struct reader *in, struct sonde_mal_function *f, unsigned *ret_version)
{
	uint64_t version, downsampling, kind, n;

	if (get(in, 1, &version) < 0 || get(in, 1, &downsampling) < 0 || get(in, 1, &kind) < 0 ||
	    get(in, 1, &n) < 0)
		return -EBADMSG;
	if (version < STORED_FIXED || version > STORED_VERSION ||
	    downsampling >= _SONDE_MAL_DOWNSAMPLING_MAX || kind >= _SONDE_MAL_KIND_MAX ||
	    n > SONDE_MAL_RANKS_MAX)
		return -EBADMSG;
	*f = (struct sonde_mal_function){
		(enum sonde_mal_downsampling)downsampling, (enum sonde_mal_kind)kind, {0}, n};
	for (size_t i = 0; i < n; i++) {
		if (get_rank(in, (unsigned)version, &f->ranks[i]) < 0)
			return -EBADMSG;
	}
	*ret_version = (unsigned)version;
	return 0;
}

static int get_key(struct reader *in, uint64_t len, char **ret)
{
	_cleanup_free_ char *text = NULL;

	if (len > in->left || memchr(in->p, 0, len))
		return -EBADMSG;
	text = strndup((const char *)in->p, len);
	if (!text)
		return -ENOMEM;
	in->p += len;
	in->left -= len;
	*ret = copy_key(text);
	return *ret ? 0 : -ENOMEM;
}

static int get_fixed_entry(struct reader *in, struct entry *ret)
{
	uint64_t len, bucket, sum, count;
	char *key = NULL;
	int r;

	if (get(in, 4, &len) < 0)
		return -EBADMSG;
	r = get_key(in, len, &key);
	if (r < 0)
		return r;
	if (get(in, 8, &bucket) < 0 || get(in, 8, &sum) < 0 || get(in, 8, &count) < 0) {
		free_key(key);
		return -EBADMSG;
	}
	*ret = (struct entry){key, (int64_t)bucket, (int64_t)sum, (int64_t)count};
	return 0;
}

/* @last: the one before it, NULL for the first. */
static int get_entry(struct reader *in, const struct entry *last, struct entry *ret)
{
	int64_t bucket, sum, count;
	char *key = NULL;
	uint64_t len;
	int r;

	if (get_varint(in, &len) < 0 || (len == 0 && !last))
		return -EBADMSG;
	if (len > 0) {
		r = get_key(in, len - 1, &key);
	} else {
		key = copy_key(last->key);
		r = key ? 0 : -ENOMEM;
	}
	if (r < 0)
		return r;
	if ((len > 0 && last && strcmp(key, last->key) == 0) || get_signed(in, &bucket) < 0 ||
	    get_signed(in, &sum) < 0 || get_signed(in, &count) < 0) {
		free_key(key);
		return -EBADMSG;
	}
	if (len == 0)
		bucket = (int64_t)((uint64_t)bucket + (uint64_t)last->bucket);
	*ret = (struct entry){key, bucket, sum, count};
	return 0;
}

int sonde_mal_accumulator_load(const void *data, size_t len, struct sonde_mal_accumulator **ret)
{
	_cleanup_(sonde_mal_accumulator_freep) struct sonde_mal_accumulator *a = NULL;
	struct reader in = {data, len};
	struct sonde_mal_function f;
	unsigned version;
	uint64_t n;
	int r;

	assert(ret);

	r = get_function(&in, &f, &version);
	if (r >= 0)
		r = version == STORED_FIXED ? get(&in, 4, &n) : get_varint(&in, &n);
	if (r < 0 || n > SONDE_MAL_KEYS_MAX)
		return -EBADMSG;
	r = sonde_mal_accumulator_new(&f, &a);
	if (r < 0)
		return r == -EOPNOTSUPP ? -EBADMSG : r;
	a->v = calloc(n + 1, sizeof(*a->v));
	if (!a->v)
		return -ENOMEM;
	for (; a->n < n; a->n++) {
		r = version == STORED_FIXED
			    ? get_fixed_entry(&in, &a->v[a->n])
			    : get_entry(&in, a->n > 0 ? &a->v[a->n - 1] : NULL, &a->v[a->n]);
		if (r < 0)
			return r;
		if (a->n > 0 && by_key(&a->v[a->n - 1], &a->v[a->n]) >= 0) {
			a->n++; /* so that its key is freed */
			return -EBADMSG;
		}
	}
	if (in.left > 0 || (f.kind == SONDE_MAL_SINGLE && n > 1))
		return -EBADMSG;
	*ret = TAKE_PTR(a);
	return 0;
}
