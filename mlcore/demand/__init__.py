"""How many applications and how much money to expect: series, forecasts with intervals, and how past forecasts did."""

from mlcore.demand.accuracy import Accuracy, accuracy, actuals
from mlcore.demand.calendar import CalendarError
from mlcore.demand.result import Backtest, Forecast, ForecastSet, Row
from mlcore.demand.series import SeriesError, SeriesSet
from mlcore.demand.vintage import forecast

__all__ = [
    "Accuracy",
    "Backtest",
    "CalendarError",
    "Forecast",
    "ForecastSet",
    "Row",
    "SeriesError",
    "SeriesSet",
    "accuracy",
    "actuals",
    "forecast",
]
