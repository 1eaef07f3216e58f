-- Windows, most of them over aggregates.

-- name: month_against_its_neighbours
WITH monthly AS (
  SELECT i_category, i_brand, d_year, d_moy, sum(ss_sales_price) AS sales,
         avg(CAST(sum(ss_sales_price) AS DOUBLE)) OVER (PARTITION BY i_category, i_brand, d_year) AS yearly,
         rank() OVER (PARTITION BY i_category, i_brand ORDER BY d_year, d_moy) AS rn
  FROM tpcds.item JOIN tpcds.store_sales ON ss_item_sk = i_item_sk JOIN tpcds.date_dim ON ss_sold_date_sk = d_date_sk
  WHERE i_category IS NOT NULL AND i_brand IS NOT NULL
  GROUP BY i_category, i_brand, d_year, d_moy)
SELECT v1.i_category, v1.i_brand, v1.d_year, v1.d_moy, v1.yearly, v1.sales, before.sales AS previous, after.sales AS following
FROM monthly v1
JOIN monthly before ON v1.i_category = before.i_category AND v1.i_brand = before.i_brand AND v1.rn = before.rn + 1
JOIN monthly after ON v1.i_category = after.i_category AND v1.i_brand = after.i_brand AND v1.rn = after.rn - 1
WHERE v1.d_year = 1999 AND v1.yearly > 0 AND abs(v1.sales - v1.yearly) / v1.yearly > 0.1
ORDER BY v1.sales - v1.yearly, v1.i_category, v1.i_brand, v1.d_moy
LIMIT 50;

-- name: running_total_of_a_sum
SELECT d_year, d_moy, sum(ws_net_paid) AS paid,
       sum(sum(ws_net_paid)) OVER (PARTITION BY d_year ORDER BY d_moy) AS so_far,
       sum(sum(ws_net_paid)) OVER (ORDER BY d_year, d_moy ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS last_three
FROM tpcds.web_sales JOIN tpcds.date_dim ON ws_sold_date_sk = d_date_sk
GROUP BY d_year, d_moy
ORDER BY d_year, d_moy;

-- name: best_and_worst_items
WITH profit AS (SELECT ss_item_sk AS item, avg(CAST(ss_net_profit AS DOUBLE)) AS mean FROM tpcds.store_sales GROUP BY ss_item_sk),
     best AS (SELECT item, row_number() OVER (ORDER BY mean DESC, item) AS place FROM profit),
     worst AS (SELECT item, row_number() OVER (ORDER BY mean, item) AS place FROM profit)
SELECT best.place, b.i_product_name AS best, w.i_product_name AS worst
FROM best JOIN worst USING (place) JOIN tpcds.item b ON b.i_item_sk = best.item JOIN tpcds.item w ON w.i_item_sk = worst.item
WHERE best.place <= 10
ORDER BY best.place;

-- name: top_three_by_qualify
SELECT i_category, i_item_id, sum(cs_quantity) AS pieces
FROM tpcds.catalog_sales JOIN tpcds.item ON i_item_sk = cs_item_sk
WHERE i_category IS NOT NULL
GROUP BY i_category, i_item_id
QUALIFY row_number() OVER (PARTITION BY i_category ORDER BY sum(cs_quantity) DESC, i_item_id) <= 3
ORDER BY i_category, pieces DESC, i_item_id;

-- name: cumulative_channels_by_full_join
WITH web AS (SELECT ws_item_sk AS item, d_date, sum(sum(ws_sales_price)) OVER (PARTITION BY ws_item_sk ORDER BY d_date) AS cume
             FROM tpcds.web_sales JOIN tpcds.date_dim ON ws_sold_date_sk = d_date_sk WHERE d_month_seq BETWEEN 1200 AND 1211 AND ws_item_sk < 60 GROUP BY 1, 2),
     store AS (SELECT ss_item_sk AS item, d_date, sum(sum(ss_sales_price)) OVER (PARTITION BY ss_item_sk ORDER BY d_date) AS cume
               FROM tpcds.store_sales JOIN tpcds.date_dim ON ss_sold_date_sk = d_date_sk WHERE d_month_seq BETWEEN 1200 AND 1211 AND ss_item_sk < 60 GROUP BY 1, 2)
SELECT item, d_date, web_cume, store_cume
FROM (SELECT item, d_date, max(web.cume) OVER w AS web_cume, max(store.cume) OVER w AS store_cume
      FROM web FULL JOIN store USING (item, d_date)
      WINDOW w AS (PARTITION BY item ORDER BY d_date ROWS UNBOUNDED PRECEDING))
WHERE web_cume > store_cume
ORDER BY item, d_date
LIMIT 60;

-- name: gaps_between_visits
SELECT c_customer_id, visits, longest_gap
FROM (SELECT customer, count(*) AS visits, max(gap) AS longest_gap
      FROM (SELECT ss_customer_sk AS customer, d_date, date_diff('day', lag(d_date) OVER (PARTITION BY ss_customer_sk ORDER BY d_date), d_date) AS gap
            FROM (SELECT DISTINCT ss_customer_sk, d_date FROM tpcds.store_sales JOIN tpcds.date_dim ON d_date_sk = ss_sold_date_sk
                  WHERE ss_customer_sk IS NOT NULL))
      GROUP BY customer)
JOIN tpcds.customer ON c_customer_sk = customer
WHERE visits > 3
ORDER BY longest_gap DESC, visits, c_customer_id
LIMIT 40;

-- name: quartiles_and_shares
SELECT i_category, quartile, count(*) AS items, min(sales) AS least, max(sales) AS most
FROM (SELECT i_category, i_item_id, sum(ss_ext_sales_price) AS sales,
             ntile(4) OVER (PARTITION BY i_category ORDER BY sum(ss_ext_sales_price), i_item_id) AS quartile
      FROM tpcds.store_sales JOIN tpcds.item ON ss_item_sk = i_item_sk
      WHERE i_category IS NOT NULL AND i_item_id IS NOT NULL
      GROUP BY i_category, i_item_id)
GROUP BY i_category, quartile
ORDER BY i_category, quartile;

-- name: first_and_last_of_a_year
SELECT DISTINCT s_store_id, d_year,
       first_value(daily) OVER w AS opening, last_value(daily) OVER w AS closing, nth_value(daily, 2) OVER w AS second
FROM (SELECT s_store_id, d_year, d_date, sum(ss_net_paid) AS daily
      FROM tpcds.store_sales JOIN tpcds.store ON s_store_sk = ss_store_sk JOIN tpcds.date_dim ON d_date_sk = ss_sold_date_sk
      GROUP BY s_store_id, d_year, d_date)
WINDOW w AS (PARTITION BY s_store_id, d_year ORDER BY d_date ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
ORDER BY s_store_id, d_year;

-- name: seven_days_by_range
SELECT d_date, sales, sum(sales) OVER (ORDER BY d_date RANGE BETWEEN INTERVAL '6 days' PRECEDING AND CURRENT ROW) AS week,
       count(*) OVER (ORDER BY d_date RANGE BETWEEN INTERVAL '3 days' PRECEDING AND INTERVAL '3 days' FOLLOWING) AS near
FROM (SELECT d_date, sum(ws_ext_sales_price) AS sales FROM tpcds.web_sales JOIN tpcds.date_dim ON d_date_sk = ws_sold_date_sk
      WHERE d_year = 2002 GROUP BY d_date)
ORDER BY d_date;

-- name: year_over_year_by_week
WITH weekly AS (
  SELECT d_week_seq, sum(CASE WHEN d_day_name = 'Friday' THEN sales END) AS friday, sum(CASE WHEN d_day_name = 'Sunday' THEN sales END) AS sunday
  FROM (SELECT ws_sold_date_sk AS day, ws_ext_sales_price AS sales FROM tpcds.web_sales
        UNION ALL SELECT cs_sold_date_sk, cs_ext_sales_price FROM tpcds.catalog_sales)
  JOIN tpcds.date_dim ON d_date_sk = day
  GROUP BY d_week_seq)
SELECT this.d_week_seq, round(CAST(this.friday AS DOUBLE) / next.friday, 6) AS friday, round(CAST(this.sunday AS DOUBLE) / next.sunday, 6) AS sunday
FROM weekly this JOIN weekly next ON next.d_week_seq = this.d_week_seq + 53
WHERE this.d_week_seq IN (SELECT d_week_seq FROM tpcds.date_dim WHERE d_year = 2000)
ORDER BY this.d_week_seq;
