/* SPDX-License-Identifier: Apache-2.0 */
/* Health: gRPC's own check. */
#include <string.h>

#include "backend/services/services.h"
#include "grpc/health/v1/health.pb-c.h"

/* Is "@name/" what one of our paths begins with? */
static bool is_served(const char *name)
{
	size_t n = strlen(name);

	for (const struct sonde_grpc_method *m = sonde_services_methods; m->path; m++) {
		if (strncmp(m->path + 1, name, n) == 0 && m->path[1 + n] == '/')
			return true;
	}
	return false;
}

enum sonde_grpc_status sonde_services_health(void *ctx, struct sonde_grpc_server_call *call,
					     const uint8_t *data, size_t n)
{
	Grpc__Health__V1__HealthCheckResponse answer =
		GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	Grpc__Health__V1__HealthCheckRequest *m =
		sonde_services_unpack(&grpc__health__v1__health_check_request__descriptor, data, n);
	const struct sonde_backend *b = ctx;
	bool known;

	if (!m)
		return sonde_services_fail(call, SONDE_GRPC_INVALID_ARGUMENT,
					   "not a HealthCheckRequest");
	known = m->service[0] == '\0' || is_served(m->service);
	(void)sonde_wire_free(&m->base);
	if (!known)
		return sonde_services_fail(call, SONDE_GRPC_NOT_FOUND, "no such service");
	answer.status =
		b->draining ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
			    : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	sonde_services_answer(call, &answer.base);
	return SONDE_GRPC_OK;
}
