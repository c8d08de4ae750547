%% sequential: planets, floats in tuples.
-module(nbody).
-export([main/0]).
main() -> steps(50000, bodies()).
bodies() ->
    [{0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.47}, {4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.037},
     {8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011}, {12.89, -15.11, -0.22, 1.08, 0.868, -0.01, 0.0017},
     {15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002}].
steps(0, Bs) -> Bs;
steps(N, Bs) -> steps(N - 1, [move(accelerate(B, Bs), 0.01) || B <- Bs]).
accelerate(B, []) -> B;
accelerate({X, Y, Z, _, _, _, _} = B, [{X, Y, Z, _, _, _, _} | T]) -> accelerate(B, T);
accelerate({X, Y, Z, Vx, Vy, Vz, M}, [{X2, Y2, Z2, _, _, _, M2} | T]) ->
    Dx = X - X2, Dy = Y - Y2, Dz = Z - Z2,
    D2 = Dx * Dx + Dy * Dy + Dz * Dz,
    F = 0.01 * M2 / (D2 * math:sqrt(D2)),
    accelerate({X, Y, Z, Vx - Dx * F, Vy - Dy * F, Vz - Dz * F, M}, T).
move({X, Y, Z, Vx, Vy, Vz, M}, Dt) -> {X + Dt * Vx, Y + Dt * Vy, Z + Dt * Vz, Vx, Vy, Vz, M}.
