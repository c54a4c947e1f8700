/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/services/descriptors.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/json.h"
#include "backend/services/services.h"
#include "model/meters.h"
#include "sonde/v1/meter.pb-c.h"

#define NAME_BYTES "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"
#define NAME_MAX_ 128
#define UNIT_MAX 32
#define HELP_MAX 512
#define LABELS_MAX 16
#define LABEL_MAX 64
#define VERSION_MAX 64

struct descriptor {
	char name[NAME_MAX_];
	enum sonde_meter_kind kind;
	char unit[UNIT_MAX];
	char help[HELP_MAX];
	char labels[LABELS_MAX][LABEL_MAX];
	size_t n_labels;
	char version[VERSION_MAX]; /* of the agent */
	uint64_t told;		   /* counts up: the least was told longest ago */
};

struct sonde_descriptors {
	struct descriptor *list; /* owned; as they came */
	size_t n;
	uint64_t told;
};

int sonde_descriptors_new(struct sonde_descriptors **ret)
{
	struct sonde_descriptors *d;

	assert(ret);

	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	*ret = d;
	return 0;
}

struct sonde_descriptors *sonde_descriptors_free(struct sonde_descriptors *d)
{
	if (!d)
		return NULL;
	free(d->list);
	free(d);
	return NULL;
}

static bool is_name(const char *s, size_t max)
{
	size_t n = strlen(s);

	return n > 0 && n < max && strspn(s, NAME_BYTES) == n;
}

static int read_kind(const char *word, enum sonde_meter_kind *ret)
{
	for (unsigned k = 0; k < _SONDE_METER_KIND_MAX; k++) {
		if (strcmp(word, sonde_meter_kind_name(k)) != 0)
			continue;
		*ret = k;
		return 0;
	}
	return -EINVAL;
}

static int invalid(char words[static 160], const char *name, const char *what)
{
	(void)snprintf(words, 160, "meters[%.80s]: %s", name, what);
	return -EINVAL;
}

static int read_descriptor(const Sonde__V1__MeterDescriptor *m, const char *version,
			   struct descriptor *ret, char words[static 160])
{
	struct descriptor d = {0};

	if (!is_name(m->name, sizeof(d.name)))
		return invalid(words, m->name, "name: letters, digits, _ and : were expected");
	if (read_kind(m->kind, &d.kind) < 0)
		return invalid(words, m->name, "kind: counter, gauge or histogram was expected");
	if (strlen(m->unit) >= sizeof(d.unit) || strlen(m->help) >= sizeof(d.help))
		return invalid(words, m->name, "unit or help is too long");
	if (m->n_labels > LABELS_MAX)
		return invalid(words, m->name, "too many labels");
	for (size_t i = 0; i < m->n_labels; i++) {
		if (!is_name(m->labels[i], LABEL_MAX))
			return invalid(words, m->name, "labels: that is no name");
		(void)snprintf(d.labels[d.n_labels++], LABEL_MAX, "%s", m->labels[i]);
	}
	(void)snprintf(d.name, sizeof(d.name), "%s", m->name);
	(void)snprintf(d.unit, sizeof(d.unit), "%s", m->unit);
	(void)snprintf(d.help, sizeof(d.help), "%s", m->help);
	(void)snprintf(d.version, sizeof(d.version), "%s", version);
	*ret = d;
	return 0;
}

/* Every agent tells anew when it connects: what nobody tells any more must not keep others out for ever. */
static struct descriptor *told_longest_ago(const struct sonde_descriptors *d)
{
	struct descriptor *oldest = &d->list[0];

	for (size_t i = 1; i < d->n; i++) {
		if (d->list[i].told < oldest->told)
			oldest = &d->list[i];
	}
	return oldest;
}

static int put(struct sonde_descriptors *d, struct descriptor *new)
{
	struct descriptor *p;

	new->told = ++d->told;
	for (size_t i = 0; i < d->n; i++) {
		if (strcmp(d->list[i].name, new->name) != 0)
			continue;
		d->list[i] = *new;
		return 0;
	}
	if (d->n == SONDE_DESCRIPTORS_MAX) {
		*told_longest_ago(d) = *new;
		return 0;
	}
	p = reallocarray(d->list, d->n + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	d->list = p;
	p[d->n++] = *new;
	return 0;
}

int sonde_descriptors_take(struct sonde_descriptors *d, const uint8_t *data, size_t n,
			   char words[static 160])
{
	Sonde__V1__MeterDescriptors *m;
	struct descriptor new;
	int r = 0;

	assert(d && words);

	(void)snprintf(words, 160, "not a MeterDescriptors");
	m = sonde_services_unpack(&sonde__v1__meter_descriptors__descriptor, data, n);
	if (!m)
		return -EINVAL;
	if (m->n_meters > SONDE_DESCRIPTORS_MAX) {
		(void)snprintf(words, 160, "meters: more than %d", SONDE_DESCRIPTORS_MAX);
		r = -EINVAL;
	}
	for (size_t i = 0; r == 0 && i < m->n_meters; i++) {
		if (sonde_meter_find(m->meters[i]->name))
			continue;
		r = read_descriptor(m->meters[i], m->version, &new, words);
		if (r == 0)
			r = put(d, &new);
	}
	(void)sonde_wire_free(&m->base);
	return r;
}

static json_t *row_json(const char *name, enum sonde_meter_kind kind, const char *unit,
			const char *help, const char *from)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:[], s:o}", "name", name, "kind",
			 sonde_meter_kind_name(kind), "unit", sonde_json_text(unit), "help",
			 sonde_json_text(help), "labels", "from", sonde_json_text(from));
}

static int add_label(json_t *row, const char *label, size_t n)
{
	return sonde_json_append(json_object_get(row, "labels"), json_stringn(label, n));
}

static int add_own(json_t *list, const struct sonde_meter_info *info)
{
	json_t *row = row_json(info->name, info->kind, sonde_meter_unit(info->name), info->help,
			       "server " SONDE_VERSION);
	int r = sonde_json_append(list, row);

	for (const char *p = info->labels; r == 0 && *p;) {
		size_t n = strcspn(p, ",");

		r = add_label(row, p, n);
		p += n + (p[n] == ',');
	}
	return r;
}

static int add_told(json_t *list, const struct descriptor *d)
{
	char from[VERSION_MAX + 8];
	json_t *row;
	int r;

	(void)snprintf(from, sizeof(from), "agent %s", d->version);
	row = row_json(d->name, d->kind, d->unit, d->help, from);
	r = sonde_json_append(list, row);
	for (size_t i = 0; r == 0 && i < d->n_labels; i++)
		r = add_label(row, d->labels[i], strlen(d->labels[i]));
	return r;
}

json_t *sonde_descriptors_json(const struct sonde_descriptors *d)
{
	_cleanup_json_ json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	assert(d);

	for (unsigned i = 0; r == 0 && i < _SONDE_METER_MAX; i++)
		r = add_own(list, sonde_meter_info(i));
	for (size_t i = 0; r == 0 && i < d->n; i++)
		r = add_told(list, &d->list[i]);
	return r == 0 ? json_pack("{s:O}", "meters", list) : NULL;
}

enum sonde_grpc_status sonde_services_describe(void *ctx, struct sonde_grpc_server_call *call,
					       const uint8_t *data, size_t n)
{
	Sonde__V1__MeterDescriptorsTaken taken = SONDE__V1__METER_DESCRIPTORS_TAKEN__INIT;
	struct sonde_backend *b = ctx;
	char words[160];
	int r = sonde_descriptors_take(b->descriptors, data, n, words);

	if (r == -EINVAL)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT, "%s", words);
	if (r < 0)
		return sonde_services_fail(call, SONDE_GRPC_RESOURCE_EXHAUSTED,
					   "no room for more descriptors of meters");
	sonde_services_answer(call, &taken.base);
	return SONDE_GRPC_OK;
}
