/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/describe.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "agent/rpc.h"
#include "base/clock.h"
#include "base/log.h"
#include "model/meters.h"
#include "sonde/v1/meter.pb-c.h"
#include "wire/message.h"

#define PATH "/sonde.v1.MeterDescriptorService/describe"
#define DEADLINE_NS (10 * SONDE_NS_PER_S)
#define LABELS_MAX 8
#define LABELS_TEXT_MAX 64

struct row {
	Sonde__V1__MeterDescriptor meter;
	char text[LABELS_TEXT_MAX]; /* the labels, each with its NUL */
	char *labels[LABELS_MAX];
};

struct message {
	Sonde__V1__MeterDescriptors all;
	struct row row[_SONDE_METER_MAX];
	Sonde__V1__MeterDescriptor *rows[_SONDE_METER_MAX];
};

static void fill_labels(struct row *r, const char *labels)
{
	(void)snprintf(r->text, sizeof(r->text), "%s", labels);
	for (char *p = r->text; *p && r->meter.n_labels < LABELS_MAX;) {
		size_t n = strcspn(p, ",");
		bool last = p[n] == '\0';

		p[n] = '\0';
		r->labels[r->meter.n_labels++] = p;
		if (last)
			break;
		p += n + 1;
	}
	r->meter.labels = r->labels;
}

static void fill(struct message *m)
{
	for (unsigned i = 0; i < _SONDE_METER_MAX; i++) {
		const struct sonde_meter_info *info = sonde_meter_info(i);
		struct row *r = &m->row[i];

		sonde__v1__meter_descriptor__init(&r->meter);
		r->meter.name = sonde_wire_text(info->name);
		r->meter.kind = sonde_wire_text(sonde_meter_kind_name(info->kind));
		r->meter.unit = sonde_wire_text(sonde_meter_unit(info->name));
		r->meter.help = sonde_wire_text(info->help);
		fill_labels(r, info->labels);
		m->rows[i] = &r->meter;
	}
	m->all.n_meters = _SONDE_METER_MAX;
	m->all.meters = m->rows;
}

static void on_taken(void *ctx, const struct sonde_grpc_result *result,
		     const ProtobufCMessage *answer)
{
	if (result->status != SONDE_GRPC_OK)
		sonde_log_debug("descriptors of the meters: %s %s",
				sonde_grpc_status_name(result->status), result->message);
}

void sonde_describe(struct sonde_grpc_client *client, const char *agent_id)
{
	_cleanup_free_ struct message *m = NULL;
	int r;

	assert(client && agent_id);

	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	sonde__v1__meter_descriptors__init(&m->all);
	m->all.agent_id = sonde_wire_text(agent_id);
	m->all.version = sonde_wire_text(SONDE_VERSION);
	fill(m);
	r = sonde_rpc(client, PATH, &m->all.base, &sonde__v1__meter_descriptors_taken__descriptor,
		      DEADLINE_NS, on_taken, NULL);
	if (r < 0)
		sonde_log_debug("descriptors of the meters: %s", strerror(-r));
}
