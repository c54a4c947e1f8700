/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/services.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bpf/tcp/tcp_types.h"

void sonde_services_done(struct sonde_services *s)
{
	if (!s)
		return;
	free(s->list);
	*s = (struct sonde_services){0};
}

void sonde_services_begin(struct sonde_services *s)
{
	assert(s);

	for (size_t i = 0; i < s->n; i++)
		s->list[i].open = 0;
}

static struct sonde_service *find(const struct sonde_services *s, const struct sonde_flow *f)
{
	for (size_t i = 0; i < s->n; i++) {
		struct sonde_service *one = &s->list[i];

		if (one->port == f->rport && one->backend_port == f->backend_port &&
		    one->protocol == f->protocol && memcmp(one->addr, f->raddr, 16) == 0 &&
		    memcmp(one->backend, f->backend, 16) == 0)
			return one;
	}
	return NULL;
}

static int append(struct sonde_services *s, const struct sonde_flow *f, struct sonde_service **ret)
{
	struct sonde_service one = {
		.port = f->rport, .backend_port = f->backend_port, .protocol = f->protocol};
	struct sonde_service *list;

	if (s->n == SONDE_SERVICES_MAX) {
		s->refused++;
		return -ENOSPC;
	}
	list = reallocarray(s->list, s->n + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	memcpy(one.addr, f->raddr, sizeof(one.addr));
	memcpy(one.backend, f->backend, sizeof(one.backend));
	s->list = list;
	list[s->n] = one;
	*ret = &list[s->n++];
	return 0;
}

int sonde_services_take(struct sonde_services *s, const struct sonde_flow *f)
{
	struct sonde_service *one;
	int r;

	assert(s && f);

	if (f->backend_port == 0 || f->role != SONDE_TCP_ROLE_CLIENT)
		return 0;
	one = find(s, f);
	if (!one) {
		r = append(s, f, &one);
		if (r < 0)
			return r;
	}
	s->version++;
	if (f->final)
		one->ended++;
	else
		one->open++;
	return 0;
}
