/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* Rare events that the kernel gives a reason for, each counter with the name of its call site. */

static const char site_format[] = "%ps";

/* The name alone: no address leaves the kernel, so kptr_restrict has nothing to hide here. */
static __always_inline void name_site(__u64 site, struct sonde_tcp_drop_slot *slot)
{
	__u64 args[] = {site};

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_snprintf))
		bpf_snprintf(slot->site, sizeof(slot->site), site_format, args, sizeof(args));
}

static __always_inline struct sonde_tcp_drop *drop_at(const struct sonde_tcp_drop_key *key)
{
	struct sonde_tcp_drop_slot *slot = bpf_map_lookup_elem(&sonde_drops, key);

	if (!slot) {
		struct sonde_tcp_drop_slot fresh = {};

		if (key->site)
			name_site(key->site, &fresh);
		bpf_map_update_elem(&sonde_drops, key, &fresh, BPF_NOEXIST);
		slot = bpf_map_lookup_elem(&sonde_drops, key);
	}
	if (!slot)
		lose(SONDE_TCP_LOSS_DROP_FULL, 1);
	return slot ? &slot->drop : NULL;
}

SHARED int count_reset_reason(__u32 index, __u32 reason)
{
	struct sonde_tcp_drop_key key = {
		.cell = index,
		.reason = reason,
		.direction = SONDE_TCP_DIRECTION_TX,
		.event = SONDE_TCP_EVENT_RESET_SENT,
	};
	struct sonde_tcp_drop *resets = drop_at(&key);

	if (resets)
		add(&resets->skbs, 1);
	return 0;
}
