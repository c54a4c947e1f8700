/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/sample.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mal/family.h"

#define BOUNDS 64
#define SAMPLES_KEPT 4096 /* of a family, room for which a reset keeps */

/* Buckets of all histograms have the same few bounds, and their text is dear. */
struct bound {
	uint64_t bits; /* of the double */
	uint32_t text; /* 0: free */
};

struct sonde_mal_batch {
	struct mal_strings strings;
	struct mal_sets sets;
	struct bound bounds[BOUNDS];	   /* texts of bucket bounds, by the bits of the bound */
	struct mal_batch_family *families; /* owned; those below n_families are in use */
	size_t n_families, cap_families;
	size_t n_samples;
};

int sonde_mal_batch_new(struct sonde_mal_batch **ret)
{
	_cleanup_(sonde_mal_batch_freep) struct sonde_mal_batch *b = NULL;
	int r;

	assert(ret);

	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	r = mal_strings_init(&b->strings, SONDE_MAL_BATCH_BYTES);
	if (r >= 0)
		r = mal_sets_init(&b->sets, SONDE_MAL_BATCH_BYTES);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(b);
	return 0;
}

struct sonde_mal_batch *sonde_mal_batch_free(struct sonde_mal_batch *b)
{
	if (!b)
		return NULL;
	for (size_t i = 0; i < b->cap_families; i++)
		free(b->families[i].v);
	free(b->families);
	mal_sets_done(&b->sets);
	mal_strings_done(&b->strings);
	free(b);
	return NULL;
}

void sonde_mal_batch_reset(struct sonde_mal_batch *b)
{
	assert(b);

	mal_strings_reset(&b->strings);
	mal_sets_reset(&b->sets);
	memset(b->bounds, 0, sizeof(b->bounds));
	for (size_t i = 0; i < b->n_families; i++) {
		struct mal_batch_family *f = &b->families[i];

		f->n = 0;
		if (f->cap <= SAMPLES_KEPT)
			continue;
		free(f->v);
		f->v = NULL;
		f->cap = 0;
	}
	b->n_families = 0;
	b->n_samples = 0;
}

size_t sonde_mal_batch_count(const struct sonde_mal_batch *b)
{
	return b->n_samples;
}

struct mal_strings *mal_batch_strings(struct sonde_mal_batch *b)
{
	return &b->strings;
}

struct mal_sets *mal_batch_sets(struct sonde_mal_batch *b)
{
	return &b->sets;
}

size_t mal_batch_families(const struct sonde_mal_batch *b, const struct mal_batch_family **ret)
{
	*ret = b->families;
	return b->n_families;
}

const struct mal_batch_family *mal_batch_find(const struct sonde_mal_batch *b, uint32_t name)
{
	uint32_t slot = b->strings.v[name].tag;

	return slot ? &b->families[slot - 1] : NULL;
}

static int family_of(struct sonde_mal_batch *b, uint32_t name, struct mal_batch_family **ret)
{
	struct mal_string *s = &b->strings.v[name];

	if (!s->tag) {
		if (b->n_families == b->cap_families) {
			size_t cap = b->cap_families ? b->cap_families * 2 : 32;
			struct mal_batch_family *v = reallocarray(b->families, cap, sizeof(*v));

			if (!v)
				return -ENOMEM;
			memset(v + b->cap_families, 0, (cap - b->cap_families) * sizeof(*v));
			b->families = v;
			b->cap_families = cap;
		}
		b->families[b->n_families].name = name;
		s->tag = (uint32_t)++b->n_families;
	}
	*ret = &b->families[s->tag - 1];
	return 0;
}

static int push(struct sonde_mal_batch *b, const struct mal_sample *s)
{
	struct mal_batch_family *f;
	int r;

	if (b->n_samples >= SONDE_MAL_SAMPLES_MAX)
		return -E2BIG;
	r = family_of(b, s->name, &f);
	if (r < 0)
		return r;
	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 16;
		struct mal_sample *v = reallocarray(f->v, cap, sizeof(*v));

		if (!v)
			return -ENOMEM;
		f->v = v;
		f->cap = cap;
	}
	f->v[f->n++] = *s;
	b->n_samples++;
	return 0;
}

static int intern(struct sonde_mal_batch *b, const char *text, uint32_t *ret)
{
	size_t len;

	if (!text)
		return -EINVAL;
	len = strlen(text);
	if (len > SONDE_MAL_TEXT_MAX)
		return -E2BIG;
	return mal_strings_put(&b->strings, text, len, ret);
}

static bool has_key(const struct mal_pair *v, size_t n, uint32_t key)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].key == key)
			return true;
	return false;
}

/* Interns @labels into @out, which has room for SONDE_MAL_LABELS_MAX. */
static int intern_labels(struct sonde_mal_batch *b, const struct sonde_mal_label *labels, size_t n,
			 struct mal_pair *out)
{
	int r;

	if (n > SONDE_MAL_LABELS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		r = intern(b, labels[i].key, &out[i].key);
		if (r < 0)
			return r;
		if (has_key(out, i, out[i].key))
			return -EEXIST;
		r = intern(b, labels[i].value, &out[i].value);
		if (r < 0)
			return r;
	}
	return 0;
}

int sonde_mal_batch_add(struct sonde_mal_batch *b, const struct sonde_mal_sample *s)
{
	struct mal_pair pairs[SONDE_MAL_LABELS_MAX];
	struct mal_sample out = {.value = s->value, .ts_ms = s->ts_ms};
	int r;

	assert(b && s);

	if (!s->name || !s->name[0])
		return -EINVAL;
	r = intern_labels(b, s->labels, s->n_labels, pairs);
	if (r < 0)
		return r;
	if (isnan(s->value))
		return 0;
	r = intern(b, s->name, &out.name);
	if (r < 0)
		return r;
	r = mal_sets_put(&b->sets, &b->strings, pairs, s->n_labels, &out.labels);
	if (r < 0)
		return r;
	return push(b, &out);
}

/* What a collection says once for all of its samples. */
struct origin {
	uint32_t service_key, instance_key, le_key;
	uint32_t service, instance;
	int64_t ts_ms;
};

static int find_origin(struct sonde_mal_batch *b, const struct sonde_mal_meter *m, size_t n,
		       struct origin *o)
{
	const char *service = NULL, *instance = NULL;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (m[i].service && m[i].service[0])
			service = m[i].service;
		if (m[i].instance && m[i].instance[0])
			instance = m[i].instance;
		if (m[i].timestamp_ms > 0)
			o->ts_ms = m[i].timestamp_ms;
	}
	if (!service || !instance || o->ts_ms == 0)
		return -ENODATA;
	r = intern(b, "service", &o->service_key);
	if (r >= 0)
		r = intern(b, "instance", &o->instance_key);
	if (r >= 0)
		r = intern(b, "le", &o->le_key);
	if (r >= 0)
		r = intern(b, service, &o->service);
	if (r >= 0)
		r = intern(b, instance, &o->instance);
	return r;
}

static int intern_bound(struct sonde_mal_batch *b, double v, uint32_t *ret)
{
	char text[SONDE_MAL_DOUBLE_SIZE];
	struct bound *known;
	uint64_t bits;
	int r;

	memcpy(&bits, &v, sizeof(bits));
	known = &b->bounds[(bits * 0x9e3779b97f4a7c15ULL) >> 58];
	if (!known->text || known->bits != bits) {
		sonde_mal_double_text(v, text);
		r = intern(b, text, &known->text);
		if (r < 0) {
			known->text = 0;
			return r;
		}
		known->bits = bits;
	}
	*ret = known->text;
	return 0;
}

static int add_bucket(struct sonde_mal_batch *b, const struct sonde_mal_bucket *bucket,
		      struct mal_pair *pairs, size_t n, struct mal_sample *s)
{
	char text[SONDE_MAL_DOUBLE_SIZE];
	int r;

	if (bucket->negative_infinity) { /* OAP marks this bucket by the text of Long.MIN_VALUE */
		(void)snprintf(text, sizeof(text), "%lld", (long long)INT64_MIN);
		r = intern(b, text, &pairs[n].value);
	} else {
		r = intern_bound(b, bucket->lower_bound, &pairs[n].value);
	}
	if (r >= 0)
		r = mal_sets_put(&b->sets, &b->strings, pairs, n + 1, &s->labels);
	if (r < 0)
		return r;
	s->value = (double)bucket->count;
	return push(b, s);
}

static int add_meter(struct sonde_mal_batch *b, const struct sonde_mal_meter *m,
		     const struct origin *o)
{
	struct mal_pair pairs[SONDE_MAL_LABELS_MAX + 3];
	struct mal_sample s = {.ts_ms = o->ts_ms};
	size_t n = m->n_labels;
	int r;

	if (!m->name || !m->name[0])
		return -EINVAL;
	if (n > SONDE_MAL_LABELS_MAX - 3)
		return -E2BIG;
	r = intern(b, m->name, &s.name);
	if (r < 0)
		return r;
	r = intern_labels(b, m->labels, n, pairs);
	if (r < 0)
		return r;
	if (has_key(pairs, n, o->service_key) || has_key(pairs, n, o->instance_key) ||
	    (m->is_histogram && has_key(pairs, n, o->le_key)))
		return -EEXIST;
	pairs[n++] = (struct mal_pair){o->service_key, o->service};
	pairs[n++] = (struct mal_pair){o->instance_key, o->instance};
	if (!m->is_histogram) {
		if (isnan(m->value))
			return 0;
		s.value = m->value;
		r = mal_sets_put(&b->sets, &b->strings, pairs, n, &s.labels);
		return r < 0 ? r : push(b, &s);
	}
	pairs[n].key = o->le_key;
	for (size_t i = 0; i < m->n_buckets && r == 0; i++)
		r = add_bucket(b, &m->buckets[i], pairs, n, &s);
	return r;
}

static int refuse(int r, size_t meter, struct sonde_mal_refusal *why)
{
	static const struct {
		int err;
		const char *reason;
	} reasons[] = {
		{-ENODATA, "no meter names a service, an instance and a timestamp"},
		{-EEXIST, "a label twice, or one named service, instance or le"},
		{-EINVAL, "a meter without a name, or a label without key or value"},
		{-E2BIG, "too many samples or labels, or too much text"},
	};

	if (!why)
		return r;
	why->meter = meter;
	why->reason[0] = 0;
	for (size_t i = 0; i < ELEMENTS_OF(reasons); i++)
		if (reasons[i].err == r)
			(void)snprintf(why->reason, sizeof(why->reason), "%s", reasons[i].reason);
	return r;
}

/* Takes back the samples that were pushed since the batch held @sizes (by family) and @samples. */
static void roll_back(struct sonde_mal_batch *b, const size_t *sizes, size_t n_sizes,
		      size_t samples)
{
	for (size_t i = 0; i < b->n_families; i++)
		b->families[i].n = i < n_sizes ? sizes[i] : 0;
	b->n_samples = samples;
}

int sonde_mal_batch_add_collection(struct sonde_mal_batch *b, const struct sonde_mal_meter *meters,
				   size_t n_meters, struct sonde_mal_refusal *ret_why)
{
	size_t n_sizes = b->n_families, samples = b->n_samples;
	_cleanup_free_ size_t *sizes = NULL;
	struct origin o = {0};
	int r;

	assert(b && (meters || n_meters == 0));

	sizes = calloc(n_sizes + 1, sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	for (size_t i = 0; i < n_sizes; i++)
		sizes[i] = b->families[i].n;
	r = find_origin(b, meters, n_meters, &o);
	if (r < 0)
		return refuse(r, 0, ret_why);
	for (size_t i = 0; i < n_meters; i++) {
		r = add_meter(b, &meters[i], &o);
		if (r < 0) {
			roll_back(b, sizes, n_sizes, samples);
			return refuse(r, i, ret_why);
		}
	}
	return 0;
}
