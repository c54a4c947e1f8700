/* SPDX-License-Identifier: Apache-2.0 */
/* Drops: the counters that changed, with the kernel's own names for their reasons. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collect/tcp/state.h"
#include "model/drop-class.h"
#include "tcp.skel.h"

#define DROP_BATCH 256
#define DROP_PREFIX "SKB_DROP_REASON_"
#define RESET_PREFIX "SK_RST_REASON_"
#define REASON_SUBSYSTEM_SHIFT 16

static void reason_name(const struct sonde_enum_names *reasons, const char *prefix, uint32_t reason,
			char *dst, size_t size)
{
	const char *name = reason < reasons->n ? reasons->names[reason] : NULL;

	if (!name)
		(void)snprintf(dst, size, "REASON_%u", reason);
	else if (strncmp(name, prefix, strlen(prefix)) == 0)
		(void)snprintf(dst, size, "%s", name + strlen(prefix));
	else
		(void)snprintf(dst, size, "%s", name);
}

void tcp_drop_reason_name(const struct sonde_enum_names *reasons, uint32_t reason, char *dst,
			  size_t size)
{
	if (reason >> REASON_SUBSYSTEM_SHIFT)
		(void)snprintf(dst, size, "SUBSYS_%u", reason >> REASON_SUBSYSTEM_SHIFT);
	else
		reason_name(reasons, DROP_PREFIX, reason, dst, size);
}

void tcp_reset_reason_name(const struct sonde_enum_names *reasons, uint32_t reason, char *dst,
			   size_t size)
{
	reason_name(reasons, RESET_PREFIX, reason, dst, size);
}

/* Index of @key, or where it belongs. */
static bool find_seen(const struct tcp_state *s, const struct sonde_tcp_drop_key *key, size_t *ret)
{
	size_t low = 0, high = s->n_drops;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(&s->drops[mid].key, key, sizeof(*key));

		if (order == 0) {
			*ret = mid;
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret = low;
	return false;
}

/* What stands for an address of the kernel outside: there are some dozens. */
static int number_site(struct tcp_state *s, uint64_t site, uint64_t *ret)
{
	uint64_t *grown;

	for (size_t i = 0; i < s->n_sites; i++) {
		if (s->sites[i] == site) {
			*ret = i + 1;
			return 0;
		}
	}
	grown = reallocarray(s->sites, s->n_sites + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->sites = grown;
	s->sites[s->n_sites++] = site;
	*ret = s->n_sites;
	return 0;
}

/* 1: it has changed, 0: told already. */
static int note_drop(struct tcp_state *s, const struct sonde_tcp_drop_key *key, uint64_t skbs,
		     uint64_t *ret_site)
{
	struct tcp_drop_seen *grown;
	uint64_t site = 0;
	size_t i;
	int r;

	if (find_seen(s, key, &i)) {
		*ret_site = s->drops[i].site;
		if (s->drops[i].skbs == skbs)
			return 0;
		s->drops[i].skbs = skbs;
		return 1;
	}
	r = key->site ? number_site(s, key->site, &site) : 0;
	if (r < 0)
		return r;
	grown = reallocarray(s->drops, s->n_drops + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->drops = grown;
	memmove(&grown[i + 1], &grown[i], (s->n_drops - i) * sizeof(*grown));
	grown[i] = (struct tcp_drop_seen){.key = *key, .skbs = skbs, .site = site};
	s->n_drops++;
	*ret_site = site;
	return 1;
}

static int emit_drop(struct tcp_state *s, const struct sonde_tcp_drop_key *key,
		     const struct sonde_tcp_drop_slot *slot, struct sonde_collect_sink sink)
{
	struct sonde_probe_reply reply = {.type = SONDE_PROBE_DROP};
	uint64_t site = 0;
	int r;

	r = note_drop(s, key, slot->drop.skbs, &site);
	if (r <= 0)
		return r;
	reply.drop.key = *key;
	reply.drop.key.site = site;
	reply.drop.drop = slot->drop;
	(void)snprintf(reply.drop.site, sizeof(reply.drop.site), "%.*s",
		       (int)sizeof(slot->site) - 1, slot->site);
	reply.drop.drop_class = SONDE_DROP_UNCLASSIFIED;
	if (key->event == SONDE_TCP_EVENT_RESET_SENT) {
		tcp_reset_reason_name(&s->object.plan.names[TCP_ENUM_RESET], key->reason,
				      reply.drop.reason, sizeof(reply.drop.reason));
		return sink.emit(sink.ctx, &reply);
	}
	tcp_drop_reason_name(&s->object.plan.names[TCP_ENUM_DROP], key->reason, reply.drop.reason,
			     sizeof(reply.drop.reason));
	reply.drop.drop_class = sonde_drop_class_of(reply.drop.reason);
	return sink.emit(sink.ctx, &reply);
}

int tcp_emit_drops(struct tcp_state *s, struct sonde_collect_sink sink)
{
	struct sonde_tcp_drop_key keys[DROP_BATCH];
	struct sonde_tcp_drop_slot drops[DROP_BATCH];
	int fd = bpf_map__fd(s->skel->maps.sonde_drops), r, last = 0;
	uint32_t n, position, *in = NULL;

	while (!last) {
		n = DROP_BATCH;
		last = bpf_map_lookup_batch(fd, in, &position, keys, drops, &n, NULL);
		if (last < 0 && errno != ENOENT)
			return -errno;
		for (uint32_t i = 0; i < n; i++) {
			r = emit_drop(s, &keys[i], &drops[i], sink);
			if (r < 0)
				return r;
		}
		in = &position;
	}
	return 0;
}
