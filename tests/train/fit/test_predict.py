from collections.abc import Callable

import torch

from foal.tests.train.fit.small_fit import CPU, SMALL, fit_first
from foal.train.data.dataset import Dataset
from foal.train.fit.predict import predict


def test_predictions_are_in_the_order_of_the_rows(make_dataset: Callable[..., Dataset]) -> None:
    data = make_dataset()
    model = fit_first(data, SMALL.model_copy(update={"epochs": 1})).model
    rows = torch.tensor([7, 2, 19, 2])
    batched = predict(model, data, rows, batch_size=3, device=CPU)
    single = torch.cat([predict(model, data, rows[i : i + 1], batch_size=1, device=CPU) for i in range(4)])
    torch.testing.assert_close(batched, single, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(batched.sum(1), torch.ones(4))
