/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/namespaces.h"

#include <assert.h>
#include <errno.h>

void sonde_namespaces_done(struct sonde_namespaces *s)
{
	if (!s)
		return;
	free(s->list);
	*s = (struct sonde_namespaces){0};
}

uint64_t sonde_namespace_growth(const struct sonde_net_counters *now,
				const struct sonde_net_counters *then, enum sonde_net_counter c)
{
	assert(now && then && (unsigned)c < _SONDE_NET_COUNTER_MAX);

	if (!now->known[c] || !then->known[c] || now->value[c] < then->value[c])
		return 0;
	return now->value[c] - then->value[c];
}

static struct sonde_namespace *find(struct sonde_namespaces *s, uint64_t id)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->list[i].id == id)
			return &s->list[i];
	}
	return NULL;
}

static struct sonde_namespace *find_gone(struct sonde_namespaces *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->list[i].gone && !s->list[i].host)
			return &s->list[i];
	}
	return NULL;
}

/* A namespace that took over the number of one that is gone: its counters began anew. */
static bool went_back(const struct sonde_net_counters *now, const struct sonde_net_counters *then)
{
	for (size_t c = 0; c < _SONDE_NET_COUNTER_MAX; c++) {
		if (now->known[c] && then->known[c] && now->value[c] < then->value[c])
			return true;
	}
	return false;
}

struct look {
	int proc_fd;
	bool seen[SONDE_NAMESPACES_MAX];
};

/* Reads the namespace of @pid, once a look. Return: the namespace, NULL without room or when it cannot be read. */
static struct sonde_namespace *look_at(struct sonde_namespaces *s, struct look *look, uint32_t pid)
{
	struct sonde_net_counters now;
	struct sonde_namespace *ns;
	uint64_t id = 0;
	int r;

	r = sonde_net_counters_namespace(look->proc_fd, pid, &id);
	if (r < 0) {
		s->error = r == -ESRCH ? s->error : r;
		return NULL;
	}
	ns = find(s, id);
	if (ns && look->seen[ns - s->list])
		return ns;
	if (!ns && s->n == SONDE_NAMESPACES_MAX && !find_gone(s)) {
		s->beyond++;
		return NULL;
	}
	r = sonde_net_counters_read(look->proc_fd, pid, &now);
	if (r < 0) {
		s->error = r == -ESRCH ? s->error : r;
		return NULL;
	}
	if (!ns)
		ns = s->n < SONDE_NAMESPACES_MAX ? &s->list[s->n++] : find_gone(s);
	if (ns->id != id || (ns->gone && went_back(&now, &ns->now))) {
		bool host = ns->host && ns->id == id;

		*ns = (struct sonde_namespace){.id = id, .host = host, .base = now, .now = now};
	}
	ns->before = ns->now;
	ns->now = now;
	ns->n_pids = 0;
	ns->n_targets = 0;
	ns->gone = false;
	look->seen[ns - s->list] = true;
	return ns;
}

int sonde_namespaces_look(struct sonde_namespaces *s, int proc_fd, uint32_t own_pid,
			  const uint32_t *pids, size_t n)
{
	struct look look = {.proc_fd = proc_fd};
	struct sonde_namespace *ns;

	assert(s && (pids || n == 0));

	if (!s->list)
		s->list = calloc(SONDE_NAMESPACES_MAX, sizeof(s->list[0]));
	if (!s->list)
		return -ENOMEM;
	s->error = 0;
	ns = look_at(s, &look, own_pid);
	if (ns)
		ns->host = true;
	for (size_t i = 0; i < n; i++) {
		ns = look_at(s, &look, pids[i]);
		if (!ns)
			continue;
		ns->n_targets++;
		if (ns->n_pids < SONDE_NAMESPACES_PIDS_MAX)
			ns->pids[ns->n_pids++] = pids[i];
	}
	for (size_t i = 0; i < s->n; i++) {
		s->list[i].gone = !look.seen[i];
		if (s->list[i].gone)
			s->list[i].before = s->list[i].now; /* nobody of it is left to ask */
	}
	return 0;
}
