/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Template store: the dashboards that SkyWalking's Horizon UI keeps in its backend, on the paths of OAP's admin port:
 * /ui-management/templates (what is answered: README.md here). It reads them back as it wrote them; they mean
 * nothing to us. Bounded by number and bytes. Loop thread only.
 */

#include "backend/backend.h"
#include "backend/http/httpd.h"

#define SONDE_TEMPLATES_MAX 2000
#define SONDE_TEMPLATES_BYTES_MAX (32UL << 20)
#define SONDE_TEMPLATE_ID_MAX 256 /* with NUL */

struct sonde_templates;

/* Loads what @store holds. Return: 0, -errno. */
int sonde_templates_new(struct sonde_store *store, struct sonde_templates **ret) _must_check_;
/* Behind the store, whose writes come back to it. */
struct sonde_templates *sonde_templates_free(struct sonde_templates *t);
SONDE_DEFINE_CLEANUP(struct sonde_templates *, sonde_templates_free)

/* Return: true if the path is one of the store's; then it is answered, or waits for the database. */
bool sonde_templates_handle(struct sonde_backend *b, struct sonde_http_request *req);
