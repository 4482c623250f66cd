"""A client of Stockroom from its proto alone: receives five units, asks, and reserves two of them.

    pip install grpcio-tools
    STOCKROOM_ADDR=https://host:7777 STOCKROOM_CA=ca.pem STOCKROOM_API_KEY=sr_... client.py LOCATION SKU

STOCKROOM_ADDR is http://127.0.0.1:7777 where nothing is said; whom the system trusts certifies an
https:// address where there is no STOCKROOM_CA; without a key the calls are anonymous."""

import os
import sys
import uuid
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "proto"))
movement, movements = grpc.protos_and_services("stockroom/v1/movement_service.proto")
availability, availabilities = grpc.protos_and_services("stockroom/v1/availability_service.proto")
reservation, reservations = grpc.protos_and_services("stockroom/v1/reservation_service.proto")
types = grpc.protos("stockroom/v1/types.proto")

location, sku = sys.argv[1:3]
scheme, address = os.environ.get("STOCKROOM_ADDR", "http://127.0.0.1:7777").split("://")
if scheme == "https":
    ca = os.environ.get("STOCKROOM_CA")
    trusted = grpc.ssl_channel_credentials(Path(ca).read_bytes() if ca else None)
    channel = grpc.secure_channel(address, trusted)
else:
    channel = grpc.insecure_channel(address)
key = os.environ.get("STOCKROOM_API_KEY")
with_key = {"metadata": [("authorization", f"Bearer {key}")] if key else [], "timeout": 5}

try:
    # A key of its own for what happened: sent again after a time-out it would not be counted twice.
    receipt = movement.Movement(key=str(uuid.uuid4()), kind=types.MOVEMENT_KIND_RECEIPT,
                                location_id=location, sku=sku, quantity=5)
    receipt.occurred_at.GetCurrentTime()
    request = movement.RecordMovementsRequest(source="client.py", movements=[receipt])
    recorded = movements.MovementServiceStub(channel).RecordMovements(request, **with_key)
    print("received:", types.MovementStatus.Name(recorded.results[0].status))

    request = availability.CheckAvailabilityRequest(skus=[sku], location_ids=[location],
                                                    min_token=recorded.token)
    told = availabilities.AvailabilityServiceStub(channel).CheckAvailability(request, **with_key)
    print("available:", told.availability[0].available)

    request = reservation.CreateReservationRequest(request_id=str(uuid.uuid4()), location_id=location)
    request.lines.add(sku=sku, quantity=2)
    made = reservations.ReservationServiceStub(channel).CreateReservation(request, **with_key)
    print("reserved:", made.reservation.reservation_id)
except grpc.RpcError as refused:
    sys.exit(f"refused: {refused.code().name}: {refused.details()}")
