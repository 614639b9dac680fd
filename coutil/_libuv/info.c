/* What the system tells about itself. Python calls libuv directly, except for unions, which cffi cannot look into. */

void co_interface(const uv_interface_address_t *interface, co_address *address, co_address *netmask) {
    memset(address, 0, sizeof *address);
    memset(netmask, 0, sizeof *netmask);
    memcpy(&address->storage, &interface->address, sizeof interface->address);
    memcpy(&netmask->storage, &interface->netmask, sizeof interface->netmask);
}
