/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "collect/plan.h"

/* Of the kernel: an element's head in a hash table, a bucket of it, a pointer. */
#define HASH_HEAD_BYTES 48
#define HASH_BUCKET_BYTES 16
#define POINTER_BYTES 8

static uint64_t round_up(uint64_t n, uint64_t step)
{
	return (n + step - 1) / step * step;
}

static uint64_t power_of_two(uint64_t n)
{
	uint64_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

static void add_hash(const struct bpf_map *m, uint64_t n_cpus, bool per_cpu,
		     struct sonde_collect_memory *sum)
{
	uint64_t entries = bpf_map__max_entries(m), value = round_up(bpf_map__value_size(m), 8);
	uint64_t element = HASH_HEAD_BYTES + round_up(bpf_map__key_size(m), 8) +
			   (per_cpu ? POINTER_BYTES + value * n_cpus : value);
	uint64_t buckets = power_of_two(entries) * HASH_BUCKET_BYTES;
	bool grows = bpf_map__map_flags(m) & BPF_F_NO_PREALLOC;

	sum->start_bytes += buckets + (grows ? 0 : entries * element);
	sum->full_bytes += buckets + entries * element;
}

static void add_fixed(uint64_t bytes, struct sonde_collect_memory *sum)
{
	sum->start_bytes += bytes;
	sum->full_bytes += bytes;
}

static void add_map(const struct bpf_map *m, uint64_t n_cpus, struct sonde_collect_memory *sum)
{
	uint64_t entries = bpf_map__max_entries(m), value = round_up(bpf_map__value_size(m), 8);

	switch (bpf_map__type(m)) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
		add_hash(m, n_cpus, false, sum);
		break;
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		add_hash(m, n_cpus, true, sum);
		break;
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		add_fixed(entries * (POINTER_BYTES + value * n_cpus), sum);
		break;
	case BPF_MAP_TYPE_RINGBUF:
		add_fixed(entries, sum);
		break;
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
		break; /* with each socket or task */
	default:
		add_fixed(round_up(entries * value, (uint64_t)getpagesize()), sum);
		break;
	}
}

int sonde_plan_memory(const struct bpf_object *object, struct sonde_collect_memory *sum)
{
	int n_cpus = libbpf_num_possible_cpus();
	const struct bpf_map *m;

	assert(object && sum);

	if (n_cpus < 0)
		return n_cpus;
	bpf_object__for_each_map (m, object)
		add_map(m, (uint64_t)n_cpus, sum);
	return 0;
}

/* What the kernel says that a map takes; 0 where it does not say. */
static uint64_t map_memory(int fd)
{
	char path[64], line[128];
	uint64_t bytes = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "memlock:", 8) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (sonde_parse_u64(line + 8 + strspn(line + 8, " \t"), 0, UINT64_MAX, &bytes) < 0)
			bytes = 0;
		break;
	}
	(void)fclose(f);
	return bytes;
}

uint64_t sonde_plan_map_bytes(const struct bpf_object *object)
{
	const struct bpf_map *m;
	uint64_t bytes = 0;

	assert(object);

	bpf_object__for_each_map (m, object)
		bytes += map_memory(bpf_map__fd(m));
	return bytes;
}
